"""Refuse destruction of anything that is not proven disposable. Imports nothing of ours, no boto3.

import guards
guards.enable()                      # from now on every psycopg connection of this process is judged
guards.assert_disposable(connection)  # or ask yourself
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from guards.evidence import Wire
    from guards.session import Guard
    from guards.verdict import Strictness

__all__ = ["assert_disposable", "disable", "enable"]


def enable(strictness: Strictness = "dev") -> Guard:
    """Guard this process's drivers from now on; a second call keeps what was refused so far."""
    from guards.drivers import psycopg3
    from guards.session import Guard, activate, active, policy_of

    psycopg3.install()
    guard = active() or Guard(policy_of(strictness))
    guard.policy = policy_of(strictness)
    activate(guard)
    return guard


def disable() -> None:
    """Let everything pass again. Sessions that were made read-only stay so."""
    from guards.session import activate

    activate(None)


def assert_disposable(connection: Wire, strictness: Strictness = "dev") -> None:
    """Raise guards.session.Refused unless the database of `connection` is proven disposable."""
    from datetime import UTC, datetime

    from guards.evidence import gather
    from guards.session import Known, Refused, policy_of, refusal_text
    from guards.statements import Danger, Finding
    from guards.verdict import judge

    evidence = gather(connection)
    verdict = judge(evidence, policy_of(strictness), datetime.now(UTC))
    if not verdict.disposable:
        known = Known(evidence, verdict, "this connection")
        raise Refused(refusal_text(known, [Finding(Danger.UNKNOWN, "what comes next")], None))
