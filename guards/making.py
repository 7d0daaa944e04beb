"""Databases that a run makes for itself: on a server of this machine they are its own, and only they may be destroyed.

An unproven session is read-only, so that `create database` and what follows it (Django's runner, pytest-postgresql,
scripts) would fail on the long-lived server of a developer. A new database bears the mark of the run that made it
from the first moment; what concerns only such databases, or marked ones, passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from pgparse import parse

from guards import clock
from guards.evidence import Evidence
from guards.identity import ServerIdentity
from guards.marker import Marker
from guards.reach import Judging
from guards.run import this_run
from guards.statements import Finding, Reach, classify
from guards.telling import Known

LIFT = "set default_transaction_read_only = off"
LASTS = timedelta(hours=24)
# Of databases alone: what is done to roles or to the server stays refused on an unproven session.
_PASSES = (Reach.NEW_DATABASE, Reach.DATABASE, Reach.SESSIONS)


@dataclass(frozen=True)
class Making:
    """A text about databases of this run, which an unproven session may send. `created`: those that will be the run's
    own when it succeeded. `lifts`: it is refused by a read-only session, so LIFT is sent before it and the session is
    held again afterwards; a SELECT (it ends sessions) never is, for what it calls is not seen."""

    created: tuple[str, ...]
    lifts: bool


def making(known: Known, text: str, judging: Judging) -> Making | None:
    """What a text makes or ends, if it does nothing else and each database is the run's own, marked, or new."""
    findings = classify(text).findings
    if not findings or any(finding.reach not in _PASSES for finding in findings) or not may_hold(known.evidence):
        return None
    if len(parse(text)) != 1 or any(judging.objections(finding) for finding in findings):
        return None
    return Making(tuple(_created(findings)), lifts=any(f.reach is not Reach.SESSIONS for f in findings))


def mark_of_run(identity: ServerIdentity) -> Marker:
    """The mark of a database that this run made. It is for the processes of this run; it lasts for a day at most."""
    return Marker(
        "disposable", identity.system_identifier, identity.database_oid, by="the run that made it",
        reason="made by a guarded run of tests", until=(clock.now() + LASTS).isoformat(timespec="seconds"),
        run=this_run().key,
    )  # fmt: skip


def _created(findings: Sequence[Finding]) -> list[str]:
    return [name for finding in findings if finding.reach is Reach.NEW_DATABASE for name in finding.objects]


def may_hold(evidence: Evidence) -> bool:
    """Whether databases may be made on its server: one of this machine that no service looks after."""
    return evidence.here is not None and not (evidence.managed or evidence.standby or evidence.pooled)
