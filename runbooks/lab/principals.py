"""Who calls: the role behind an access key, as moto's STS handed it out, and whether a principal exists in its IAM."""

from __future__ import annotations

OWN = ":user/moto"  # whom moto takes the lab's own credentials for


def role_of(access_key: str) -> str | None:
    """The ARN of the role that was assumed to get this access key id; None for a key that is no session's."""
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.sts.models import sts_backends

    session = sts_backends[DEFAULT_ACCOUNT_ID]["aws"].get_assumed_role_from_access_key(access_key)
    return None if session is None else str(session.role_arn)


def exists(arn: str) -> bool:
    """Whether there is such a role or user: a role's ARN without the role's path is none."""
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.iam.models import iam_backends

    backend = iam_backends[DEFAULT_ACCOUNT_ID]["aws"]
    principals = [*(role.arn for role in backend.roles.values()), *(user.arn for user in backend.users.values())]
    return arn in principals or arn.endswith(OWN)
