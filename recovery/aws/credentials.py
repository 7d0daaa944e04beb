"""Passwords for the original from Secrets Manager or IAM. Never stored, never printed."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from recovery.aws.clients import client, translated
from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError


@dataclass(frozen=True)
class Login:
    """A user and, unless libpq is to find it, a password. repr() shows no password."""

    user: str
    password: str | None = field(default=None, repr=False)


def end_unrenewed() -> bool:
    """Whether these credentials end at some time and nothing renews them: a session's, in the environment."""
    import boto3

    credentials = boto3.Session().get_credentials()
    return credentials is not None and credentials.method == "env" and bool(credentials.token)


def from_secret(arn: str, *, region: str | None) -> Login:
    """The login of a secret whose JSON has `username` and `password`. Raises config-invalid."""
    with translated(f"secretsmanager:GetSecretValue on '{arn}'"):
        text = client("secretsmanager", region=region).get_secret_value(SecretId=arn)["SecretString"]
    try:
        secret = json.loads(text)
        return Login(str(secret["username"]), str(secret["password"]))
    except (ValueError, TypeError, KeyError, RecursionError):
        raise RowbackError(
            ErrorId.CONFIG_INVALID,
            f"secret '{arn}' is not JSON with username and password",
            state=NOTHING_CREATED,
            help="use a secret in the form RDS writes, or another credentials source",
        ) from None  # the chained exception would quote the secret


def from_iam(*, host: str, port: int, user: str, region: str | None) -> Login:
    """A token that is valid for connecting within 15 minutes; signed locally, no API call."""
    with translated("sign an IAM database token"):
        token: str = client("rds", region=region).generate_db_auth_token(host, port, user)
    return Login(user, token)
