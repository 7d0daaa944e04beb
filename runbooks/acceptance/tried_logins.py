"""Who is let in: a user in rds_iam by password and by token, on the original without IAM and on a copy with it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

import psycopg
from psycopg import sql

from recovery.config import Profile
from recovery.errors import ErrorId, RowbackError
from recovery.model.instance import InstanceFacts
from recovery.planning.original_login import by_token_on_copy, target_on_copy
from recovery.postgres.connect import Session, connect
from recovery.postgres.connection_target import Target
from recovery.redaction import remember
from runbooks.acceptance.assumptions import Answer
from runbooks.acceptance.findings import Findings


class LoginOutcome(StrEnum):
    """What came of trying one."""

    LET_IN = "let in"
    REFUSED = "refused"
    FAILED = "not answered"


def try_login(way: Callable[[], Target]) -> LoginOutcome:
    """Log in and out again."""
    try:
        with connect(way()):
            return LoginOutcome.LET_IN
    except RowbackError as error:
        return LoginOutcome.REFUSED if error.id is ErrorId.AUTHENTICATION_FAILED else LoginOutcome.FAILED


@dataclass(frozen=True)
class IamUser:
    """A user in rds_iam with a password all the same. `on_original`: whether that lets it in, where IAM is off."""

    name: str
    password: str
    on_original: LoginOutcome


def make_iam_user(session: Session, name: str, findings: Findings) -> IamUser | None:
    """None where the master user may not make one, which leaves 4 unknown."""
    password = secrets.token_urlsafe(24)
    remember(password)
    role = sql.Identifier(name)
    try:
        session.execute(sql.SQL("create role {} login password {}").format(role, sql.Literal(password)))
        session.execute(sql.SQL("grant rds_iam to {}").format(role))
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedObject) as error:
        findings.settle(4, Answer.UNKNOWN, f"not allowed: {error}")
        return None
    target = replace(session.target, user=name, password=password, service=None)
    return IamUser(name, password, try_login(lambda: target))


@dataclass(frozen=True)
class IamCopy:
    """A copy with IAM authentication, and how it is reached."""

    facts: InstanceFacts
    database: str
    profile: Profile


def try_tokens(user: IamUser, copy: IamCopy, findings: Findings) -> None:
    """Settles 4: refuted where a password lets in anywhere, confirmed where only a token does."""
    facts = copy.facts.model_copy(update={"master_username": user.name})
    by_password = try_login(lambda: target_on_copy(facts, copy.database, user.password, copy.profile))
    by_token = try_login(lambda: by_token_on_copy(facts, copy.database, copy.profile))
    seen = (
        f"by password on the original, without IAM authentication: {user.on_original}; on a copy with it: by password"
        f" {by_password}, by token {by_token}"
    )
    passwords = {user.on_original, by_password}
    if LoginOutcome.LET_IN in passwords:
        findings.settle(4, Answer.REFUTED, seen)
    elif passwords == {LoginOutcome.REFUSED} and by_token is LoginOutcome.LET_IN:
        findings.settle(4, Answer.CONFIRMED, seen)
    else:
        findings.settle(4, Answer.UNKNOWN, seen)
