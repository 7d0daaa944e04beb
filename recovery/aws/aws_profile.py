"""Calls with the credentials of another profile of the AWS configuration than this process was started with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

# boto3 prefers these to a profile that AWS_PROFILE names.
_SHADOWING = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_DEFAULT_PROFILE", "AWS_PROFILE")


@contextmanager
def as_aws_profile(name: str) -> Iterator[None]:
    """Clients that are opened inside have the credentials of AWS profile `name`; those of before keep theirs.

    Opening one raises aws-credentials for a profile that there is not.
    """
    import boto3

    before = {variable: os.environ.pop(variable, None) for variable in _SHADOWING}
    session, boto3.DEFAULT_SESSION = boto3.DEFAULT_SESSION, None
    os.environ["AWS_PROFILE"] = name
    try:
        yield
    finally:
        os.environ.pop("AWS_PROFILE", None)
        os.environ.update({variable: value for variable, value in before.items() if value is not None})
        boto3.DEFAULT_SESSION = session
