"""AWS clients, and AWS's errors in our words. Codes are matched, never exception classes (sources: RDS-errors)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlparse

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)
from botocore.parsers import ResponseParserError

from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError

DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}
EXPIRED = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "RequestExpired",
    "UnrecognizedClientException",
    "AuthFailure",
    "MissingAuthenticationToken",
}
THROTTLED = {"Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException"}
EXISTS = "DBInstanceAlreadyExists"
QUOTA = {"InstanceQuotaExceeded", "StorageQuotaExceeded"}


def client(service: str, *, region: str | None, timeout_s: float | None = None) -> Any:
    """A boto3 client with standard retries: throttling and 500s are tried 5 times, or AWS_MAX_ATTEMPTS.

    With `timeout_s` it asks once and gives up after that: for what a recovery can do without.
    """
    import boto3
    from botocore.config import Config

    attempts = int(os.environ.get("AWS_MAX_ATTEMPTS", "5")) if timeout_s is None else 1
    patience: dict[str, float] = {} if timeout_s is None else {"connect_timeout": timeout_s, "read_timeout": timeout_s}
    with translated(f"{service}: open a client"):
        return boto3.client(
            service,
            region_name=region,
            config=Config(retries={"mode": "standard", "total_max_attempts": attempts}, **patience),
        )


def is_loopback(rds: Any) -> bool:
    """Whether this client talks to an endpoint on this machine, such as the lab."""
    return urlparse(rds.meta.endpoint_url).hostname in ("127.0.0.1", "localhost", "::1")


def code_of(error: ClientError) -> str:
    """AWS's error code without the suffix that only some of them carry."""
    code = (error.response.get("Error") or {}).get("Code")
    return str(code or "").removesuffix("Fault")


def was_refused(error: RowbackError) -> bool:
    """Whether AWS answered that it did not carry out the call.

    An error of its own (5xx) does not say so, nor a refusal of a call that botocore had asked before: the first answer
    was lost or a 5xx, and the instance may be there, which is why the quota is reached or the name is taken.
    """
    cause = error.__cause__
    if not isinstance(cause, ClientError) or _is_of_aws(cause):
        return False
    return not (cause.response.get("ResponseMetadata") or {}).get("RetryAttempts")


def _is_of_aws(error: ClientError) -> bool:
    """Whether AWS answered with an error of its own: the call may have been carried out."""
    status = (error.response.get("ResponseMetadata") or {}).get("HTTPStatusCode")
    return not isinstance(status, int) or status >= 500


@contextmanager
def translated(call: str, *, state: str = NOTHING_CREATED, unanswered: str = "") -> Iterator[None]:
    """Turn whatever boto3 raises inside into a RowbackError that names `call`.

    It says `state`, or `unanswered` where the call may have been carried out without an answer. Raises aws-credentials,
    aws-unreachable, aws-refused, iam-missing, or what the code of AWS's answer stands for.
    """
    try:
        yield
    except ClientError as error:
        raise _of_answer(error, call, (unanswered or state) if _is_of_aws(error) else state) from error
    except (
        NoCredentialsError,
        PartialCredentialsError,
        CredentialRetrievalError,
        TokenRetrievalError,
        UnauthorizedSSOTokenError,
        SSOError,
        ProfileNotFound,
        NoRegionError,
    ) as error:
        raise RowbackError(
            ErrorId.AWS_CREDENTIALS,
            f"{call}: {_lower(error)}",
            state=state,
            help="set AWS_PROFILE and AWS_REGION, or log in again: aws sso login",
        ) from error
    except (EndpointConnectionError, ConnectionError, HTTPClientError) as error:
        raise RowbackError(
            ErrorId.AWS_UNREACHABLE,
            f"{call}: {_lower(error)}",
            state=unanswered or state,
            help="check the network and AWS_ENDPOINT_URL_RDS, then run the same command again",
        ) from error
    except ResponseParserError:  # its words quote the answer, and that may be a log full of people's data
        raise RowbackError(
            ErrorId.AWS_REFUSED,
            f"{call}: the answer is no XML or JSON",
            state=unanswered or state,
            help="run the same command again; for a log, try --cloudwatch or --log FILE",
        ) from None
    except (ParamValidationError, BotoCoreError) as error:
        raise RowbackError(
            ErrorId.AWS_REFUSED, f"{call}: {_lower(error)}", state=state, help="check the value named above"
        ) from error
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as error:
        # What is read out of an answer inside, and what botocore makes of times in it, is as good as the answer.
        raise RowbackError(
            ErrorId.AWS_REFUSED,
            f"{call}: the answer is not what this API promises: {type(error).__name__}",
            " ".join(str(error).split())[:200],
            state=unanswered or state,
            help="check that AWS_ENDPOINT_URL_RDS, or AWS_ENDPOINT_URL, is an endpoint of RDS; then run it again",
        ) from error


def _of_answer(error: ClientError, call: str, state: str) -> RowbackError:
    code, message = code_of(error), error.response.get("Error", {}).get("Message", "")
    if code in DENIED:
        return RowbackError(
            ErrorId.IAM_MISSING,
            f"these credentials may not call {call}",
            message,
            state=state,
            help="who am I: aws sts get-caller-identity; the policy rowback needs is in docs/reference/iam.md",
        )
    if code in EXPIRED:
        return RowbackError(
            ErrorId.AWS_CREDENTIALS,
            f"{call}: AWS does not accept these credentials ({code})",
            message,
            state=state,
            help="log in again (aws sso login), then run the same command again",
        )
    if code in THROTTLED:
        return RowbackError(
            ErrorId.AWS_THROTTLED,
            f"{call}: AWS is throttling this account ({code})",
            state=state,
            help="run the same command again in a minute",
        )
    if code in QUOTA:
        return RowbackError(
            ErrorId.QUOTA_REACHED,
            f"{call}: {message}",
            state=state,
            help="delete an instance nobody needs (rowback reap removes dead copies) or ask AWS for a higher quota",
        )
    return RowbackError(
        ErrorId.AWS_REFUSED, f"{call}: {code}: {message}", state=state, help="AWS's own words are above"
    )


def _lower(error: Exception) -> str:
    text = str(error).strip().rstrip(".")
    return text[:1].lower() + text[1:]
