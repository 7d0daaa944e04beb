"""How to log in to the original: from the profile's credentials, never kept anywhere."""

from __future__ import annotations

import os

from recovery.aws.credentials import Login, from_iam, from_secret
from recovery.config import IamCredentials, LibpqCredentials, Profile, SecretCredentials
from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError
from recovery.model.instance import InstanceFacts
from recovery.postgres.connection_target import Target
from recovery.redaction import remember


def target_on_original(facts: InstanceFacts, database: str, profile: Profile) -> Target:
    """The original's database. Address from RDS, login from the profile; libpq finds what is not said.

    Raises instance-unsuitable when RDS shows no endpoint yet.
    """
    if facts.endpoint is None:
        raise RowbackError(
            ErrorId.INSTANCE_UNSUITABLE,
            f"'{facts.identifier}' is '{facts.status}' and has no endpoint",
            state=NOTHING_CREATED,
            help="wait until it is available, then run the same command again",
        )
    login = _login(facts, profile)
    service = profile.credentials.service if isinstance(profile.credentials, LibpqCredentials) else None
    return Target(
        label=f"instance '{facts.identifier}'",
        endpoint=facts.endpoint,
        database=database,
        user=login.user,
        password=login.password,
        service=service,
        ca_bundle=profile.ca_bundle,
        sslmode=profile.sslmode,
        tunnel=profile.tunnel,
    )


def target_on_copy(facts: InstanceFacts, database: str, password: str, profile: Profile) -> Target:
    """A database of the copy, as its master user with the password that was just set."""
    assert facts.endpoint  # wait_ready returns no instance without one
    return Target(
        label=f"copy '{facts.identifier}'",
        endpoint=facts.endpoint,
        database=database,
        user=facts.master_username,
        password=password,
        ca_bundle=profile.ca_bundle,
        sslmode=profile.sslmode,
        tunnel=profile.tunnel,
    )


def by_token_on_copy(facts: InstanceFacts, database: str, profile: Profile) -> Target:
    """The same for a master user of which the server accepts IAM tokens alone: each time with a new one."""
    assert facts.endpoint
    login = from_iam(
        host=facts.endpoint.host, port=facts.endpoint.port, user=facts.master_username, region=facts.region
    )
    remember(login.password or "")
    return target_on_copy(facts, database, login.password or "", profile)


def _login(facts: InstanceFacts, profile: Profile) -> Login:
    match profile.credentials:
        case LibpqCredentials(user=user):
            return Login(user or os.environ.get("PGUSER") or facts.master_username)
        case SecretCredentials(arn=arn):
            return from_secret(arn, region=profile.region)
        case IamCredentials(user=user):
            assert facts.endpoint
            return from_iam(host=facts.endpoint.host, port=facts.endpoint.port, user=user, region=profile.region)
