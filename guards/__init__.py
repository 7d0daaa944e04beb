"""Refuse destruction of anything that is not proven disposable. Imports nothing else of the project, no boto3.

import guards
guards.enable()                       # from now on every connection of this process is judged (unittest, scripts)
guards.assert_disposable(connection)  # or ask yourself
guards.identify(connection)           # which server it really is
guards.classify("truncate orders")    # what a text would do
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from guards.guard_session import Guard, Refused
    from guards.policy import Strictness
    from guards.refusal import GuardError
    from guards.server_identity import ServerIdentity
    from guards.statements.danger import Classified
    from guards.statements.placeholders import Placeholders

__all__ = ["GuardError", "Refused", "assert_disposable", "classify", "disable", "enable", "identify"]


def enable(
    strictness: Strictness | None = None, *, application: Sequence[str] = (), place: Path | None = None
) -> Guard:
    """Guard this process's drivers from now on; a second call keeps what was refused so far.

    `strictness`: without it what rowback.toml says, else ci where the variable CI is set, else dev. `application`:
    databases that are the application's own (a DSN, `$NAME`, `FILE:NAME`, `django:ALIAS`), never disposable. `place`:
    the directory from which rowback.toml and such files are looked for (default: the current one).
    unittest's runs fail at their end if anything was refused, even if that was swallowed; a script must look at
    `.refusals` itself, or be run by `rowback guard run`.
    Raises GuardError(policy-invalid) for a rowback.toml or a database's DSN that cannot be read.
    """
    from guards.drivers.guard_connection import resolved
    from guards.drivers.guarded_drivers import install
    from guards.drivers.surrounding_queries import OwnQuestions
    from guards.guard_session import Guard, activate, active
    from guards.guarded_run import join
    from guards.policy import policy_here

    policy = policy_here(strictness, application, place=place)
    for configured in policy.application:
        resolved(configured)  # what nobody can read must not pass as «not configured»
    join(os.environ)
    guard = active() or Guard(policy)
    guard.policy, guard.questions = policy, OwnQuestions()
    activate(guard)
    install()
    return guard


def disable() -> None:
    """Let everything pass again. Sessions that were made read-only stay so."""
    from guards.guard_session import activate

    activate(None)


def identify(connection: Any) -> ServerIdentity:
    """Who the server of an open connection is. `connection`: psycopg 3, psycopg2, or SQLAlchemy on one of these.

    Raises what the driver raises, and TypeError for a connection that cannot be asked.
    """
    from guards.drivers.open_connection import wire_of
    from guards.server_identity import identify as ask

    return ask(wire_of(connection))


def assert_disposable(connection: Any, strictness: Strictness | None = None) -> None:
    """Raise guards.guard_session.Refused unless the database of `connection` is proven disposable.

    `connection`: psycopg 3, psycopg2, or SQLAlchemy on one of these. Raises TypeError for any other.
    """
    from guards.drivers.open_connection import wire_of
    from guards.drivers.surrounding_queries import OwnQuestions
    from guards.guard_session import ConnectionEnds, Guard
    from guards.policy import policy_here
    from guards.server_evidence import EVIDENCE_QUERY, as_text
    from guards.statements import Danger, Finding

    wire = wire_of(connection)
    row = wire.execute(EVIDENCE_QUERY).fetchone()
    assert row is not None  # a session is always in a database
    guard = Guard(policy_here(strictness), questions=OwnQuestions())
    judgement = guard.judge_evidence(
        as_text(row), ConnectionEnds(wire.link, {}, asked_for="this connection", conninfo=wire.conninfo)
    )
    if not judgement.verdict.disposable:
        guard.refuse(judgement, [Finding(Danger.UNKNOWN, "what comes next")], None)


def classify(text: str, placeholders: Placeholders = "python") -> Classified:
    """What an SQL text would do when it is sent.

    `.danger` (READ, WRITE, DESTRUCTIVE, CATASTROPHIC or UNKNOWN) and `.findings`.

    `placeholders`: of a driver of Python (`%s`, `%(name)s`, `:name`), or "jdbc" for `?`. Never raises: what cannot be
    parsed is unknown.
    """
    from guards.statements import classify as of_text

    return of_text(text, placeholders)


def __getattr__(name: str) -> Any:
    """The two exceptions, loaded when they are asked for: importing the guards loads nothing."""
    if name == "Refused":
        from guards.guard_session import Refused

        return Refused
    if name == "GuardError":
        from guards.refusal import GuardError

        return GuardError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
