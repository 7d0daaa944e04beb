"""Databases that a run makes for itself: on a server of this machine they are its own, and only they may be destroyed.

An unproven session is read-only, so that `create database` and what follows it (Django's runner, pytest-postgresql,
scripts) would fail on the long-lived server of a developer. A new database bears the mark of the run that made it
from the first moment; a statement that concerns only such databases, or marked ones, passes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from pgparse import PGQueryError, parse

from guards import system_clock
from guards.cross_database_reach import StatementJudge
from guards.database_mark import Marker
from guards.guarded_run import this_run
from guards.server_evidence import Evidence
from guards.server_identity import ServerIdentity
from guards.statements import Finding, Reach, classify
from guards.statements.parse_tree import kind_of

LIFT = "set default_transaction_read_only = off"
LASTS = timedelta(hours=24)
# One of these is the whole text: nothing runs beside it, and nothing inside it. What is done to roles or to the server
# stays refused on an unproven session.
_UTILITIES = (
    "CreatedbStmt",
    "DropdbStmt",
    "AlterDatabaseStmt",
    "AlterDatabaseSetStmt",
    "AlterDatabaseRefreshCollStmt",
    "RenameStmt",
    "AlterOwnerStmt",
    "GrantStmt",
    "CommentStmt",
)


@dataclass(frozen=True)
class Making:
    """A text about databases of this run.

    `marks`: those that are marked as the run's own when it succeeded: new ones, and ones whose comment, which holds the
    mark, it replaces. `lifts`: a read-only session refuses it, so LIFT is sent before it and the session is held again
    afterwards; a SELECT (it ends sessions) never is, for what it calls is not seen.
    """

    marks: tuple[str, ...]
    lifts: bool


def making(text: str, statement_judge: StatementJudge) -> Making | None:
    """What a text makes or ends, if it is one statement about databases that are the run's own, marked, or new."""
    finding = _only_finding(text)
    if finding is None or not may_hold(statement_judge.judgement.evidence) or statement_judge.objections(finding):
        return None
    proven = statement_judge.judgement.verdict.disposable
    if finding.reach is Reach.SESSIONS:
        return None if proven else Making((), lifts=False)
    marks = _marks(finding, statement_judge)
    return None if proven and not marks else Making(marks, lifts=not proven)


def _only_finding(text: str) -> Finding | None:
    findings = classify(text).findings
    if len(findings) != 1 or findings[0].reach not in (Reach.NEW_DATABASE, Reach.DATABASE, Reach.SESSIONS):
        return None
    try:
        statements = parse(text)
    except PGQueryError:
        return None
    kinds = [kind_of(statement["stmt"])[0] for statement in statements]
    if findings[0].reach is Reach.SESSIONS:
        return findings[0] if kinds == ["SelectStmt"] else None
    return findings[0] if len(kinds) == 1 and kinds[0] in _UTILITIES else None


def _marks(finding: Finding, statement_judge: StatementJudge) -> tuple[str, ...]:
    """The databases that are marked as the run's own once the statement succeeded.

    A new name, where the server does not prove all of its databases, and one of the run's own whose comment is
    replaced. A taken name is not new.
    """
    if finding.reach is Reach.NEW_DATABASE:
        around = None if statement_judge.whole_server else statement_judge.neighbourhood()
        return finding.objects if around and not any(name in around.databases for name in finding.objects) else ()
    return finding.objects if finding.verb == "COMMENT" and statement_judge.is_own(finding.objects) else ()


def mark_of_run(identity: ServerIdentity) -> Marker:
    """The mark of a database that this run made. It is for the processes of this run; it lasts for a day at most."""
    return Marker(
        "disposable",
        identity.system_identifier,
        identity.database_oid,
        by="the run that made it",
        reason="made by a guarded run of tests",
        until=(system_clock.now() + LASTS).isoformat(timespec="seconds"),
        run=this_run().key,
    )


def may_hold(evidence: Evidence) -> bool:
    """Whether databases may be made on its server: one of this machine that no service looks after."""
    return evidence.on_this_kernel is not None and not (evidence.managed or evidence.standby or evidence.pooled)
