"""Refuse destruction of anything that is not proven disposable. Imports nothing of ours, no boto3.

import guards
guards.enable()                       # from now on every connection of this process is judged (unittest, scripts)
guards.assert_disposable(connection)  # or ask yourself
guards.identify(connection)           # who the server really is
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from guards.identity import ServerIdentity
    from guards.policy import Strictness
    from guards.session import Guard

__all__ = ["assert_disposable", "disable", "enable", "identify"]


def enable(strictness: Strictness | None = None, *, application: Sequence[str] = ()) -> Guard:
    """Guard this process's drivers from now on; a second call keeps what was refused so far.

    `strictness`: without it what rowback.toml says, else ci where the variable CI is set, else dev. `application`:
    databases that are the application's own (a DSN, `$NAME`, `FILE:NAME`, `django:ALIAS`), never disposable.
    A process that refused anything ends with exit code 21, even if the refusals were swallowed.
    Raises GuardError(policy-invalid) for a rowback.toml that cannot be read.
    """
    from guards.drivers import install
    from guards.drivers.own import same_as_application
    from guards.policy import policy_here
    from guards.session import Guard, activate, active

    policy = policy_here(strictness, application)
    guard = active() or Guard(policy)
    guard.policy, guard.same_as_application = policy, same_as_application
    install()
    activate(guard)
    return guard


def disable() -> None:
    """Let everything pass again. Sessions that were made read-only stay so."""
    from guards.session import activate

    activate(None)


def identify(connection: Any) -> ServerIdentity:
    """Who the server of an open connection is. `connection`: psycopg 3, psycopg2, or SQLAlchemy on one of these.

    Raises what the driver raises, and TypeError for a connection that cannot be asked.
    """
    from guards.drivers.wire import wire_of
    from guards.identity import identify as ask

    return ask(wire_of(connection))


def assert_disposable(connection: Any, strictness: Strictness | None = None) -> None:
    """Raise guards.session.Refused unless the database of `connection` is proven disposable.

    `connection`: psycopg 3, psycopg2, or SQLAlchemy on one of these. Raises TypeError for any other.
    """
    from guards.drivers.own import same_as_application
    from guards.drivers.wire import wire_of
    from guards.evidence import EVIDENCE_QUERY
    from guards.policy import policy_here
    from guards.session import Guard
    from guards.statements import Danger, Finding

    wire = wire_of(connection)
    row = wire.execute(EVIDENCE_QUERY).fetchone()
    assert row is not None  # a session is always in a database
    guard = Guard(policy_here(strictness), same_as_application=same_as_application)
    known = guard.meet(row, wire.link, asked_for="this connection", way=wire.way)
    if not known.verdict.disposable:
        guard.refuse(known, [Finding(Danger.UNKNOWN, "what comes next")], lambda _: None)
