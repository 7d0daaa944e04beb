"""Whether an answer of AWS proves that a call was not carried out."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from recovery.aws.clients import was_refused
from recovery.errors import ErrorId, RowbackError


@pytest.mark.parametrize(
    ("code", "status", "retries", "refused"),
    [
        ("InsufficientDBInstanceCapacity", 400, 0, True),
        ("DBInstanceAlreadyExists", 400, 0, True),
        ("DBInstanceAlreadyExists", 400, 1, False),
        ("InstanceQuotaExceeded", 400, 1, False),  # reached by what the first attempt made
        ("Throttling", 400, 4, False),
        ("InternalFailure", 500, 0, False),
    ],
)
def test_a_call_that_was_asked_before_may_have_been_carried_out(
    code: str, status: int, retries: int, refused: bool
) -> None:
    answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status, "RetryAttempts": retries}}
    error = RowbackError(ErrorId.AWS_REFUSED, "x", state="x", help="x")
    error.__cause__ = ClientError(answer, "CreateDBInstance")
    assert was_refused(error) is refused
