"""Calls with the credentials of another profile of the AWS configuration than this process was started with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError
from recovery.model.nearest import nearest, nearest_line
from recovery.model.values import counted


@contextmanager
def as_aws_profile(name: str) -> Iterator[None]:
    """Clients that are opened inside have the credentials of AWS profile `name`; those of before keep theirs.

    A profile that is named outright comes before everything that the environment says, roles of a pod or a CI job too.
    Raises aws-credentials for one that there is not, with the nearest names.
    """
    import boto3

    names = boto3.Session().available_profiles
    if name not in names:
        raise RowbackError(
            ErrorId.AWS_CREDENTIALS,
            f"the AWS configuration has no profile '{name}'",
            nearest_line(nearest(name, names), f"it has {counted(len(names), 'profile')}"),
            state=NOTHING_CREATED,
            help="list them: aws configure list-profiles",
        )
    session = boto3.Session(profile_name=name)
    before, boto3.DEFAULT_SESSION = boto3.DEFAULT_SESSION, session
    try:
        yield
    finally:
        boto3.DEFAULT_SESSION = before
