"""Suspects → the target time. Replay includes every commit up to it; RDS takes whole seconds (facts/rds.md §1.2)."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from recovery.model.incident import Proposal, Suspect
from recovery.model.instance import RestoreWindow
from recovery.model.target import format_utc
from recovery.model.values import name_parts

DROPS = ("DROP TABLE", "DROP SCHEMA", "DROP DATABASE")
ENOUGH = 60  # below it a suspect is shown, but no time is proposed for it


def propose(
    suspects: Sequence[Suspect], instance: str | None, window: RestoreWindow | None, *, retention_days: int = 0
) -> Proposal | None:
    """A time before the likeliest suspect, and before all others of its transaction or of the same kind near it.

    None when nothing is likely enough: a wrong time gives plausible wrong data.
    """
    likely = [s for s in suspects if s.outcome != "rolled back" and s.score >= ENOUGH]
    if not likely:
        return None
    best = likely[0]
    together = [s for s in likely if _belong_together(s, best)]
    first = min(together, key=lambda suspect: suspect.from_time)
    target = _before(first)
    unsure = any(s.outcome == "unknown" for s in together)
    rivals = sum(1 for s in likely if s.score == best.score and not _belong_together(s, best))
    tables = tuple(dict.fromkeys(_qualified(table) for suspect in together for table in suspect.meant))
    unsure = unsure or any(s.ambiguous for s in together)
    unclear = any(len(s.meant) > len(s.tables) for s in together)
    xids = tuple(dict.fromkeys(suspect.xid for suspect in together if suspect.xid))
    changes = any(suspect.told and suspect.told[0].startswith(("UPDATE", "MERGE")) for suspect in together)
    proposal = Proposal(
        target_time=target,
        confidence="low" if rivals or unclear else "medium" if unsure else "high",
        because="; ".join([_because(first, rivals), *_but(together)]),
        in_window=window.earliest <= target <= window.latest if window else None,
        reachable_until=target + timedelta(days=retention_days) if retention_days else None,
        database=best.database, tables=tables, mode="repair" if changes else "missing", incident_xids=xids, command="",
    )  # fmt: skip
    gone = all(_only_drops(suspect) for suspect in together)
    command = "rowback runbook show lost-instance" if gone else _command(instance or "INSTANCE", proposal)
    return proposal.model_copy(update={"command": command})


def _but(together: Sequence[Suspect]) -> Iterator[str]:
    """What stands between the proposal and its use."""
    if any(s.ambiguous for s in together):
        yield "several tables have one of its names, and no log tells the search_path: check --table"
    if any(_only_drops(s) for s in together):
        yield (
            "rowback puts rows into tables that exist: take what was dropped out of the whole instance as of that time,"
            " restored under another name, with pg_dump"
        )


def _only_drops(suspect: Suspect) -> bool:
    return bool(suspect.told) and all(told.startswith(DROPS) for told in suspect.told)


def _qualified(name: str) -> str:
    return name if len(name_parts(name)) > 1 else f"public.{name}"


def _belong_together(one: Suspect, other: Suspect) -> bool:
    """The same session, and one soon after the other: a script of several statements."""
    near = abs(one.from_time - other.from_time) <= timedelta(minutes=10)
    return one.database == other.database and one.pid == other.pid and near


def _before(first: Suspect) -> datetime:
    """The whole second before which nothing of it can have been committed. A full second by an exact clock may be that
    very moment, which replay includes; without fractions it is a second that had begun."""
    second = first.from_time.replace(microsecond=0)
    return second - timedelta(seconds=1) if first.exact and second == first.from_time else second


def _because(first: Suspect, rivals: int) -> str:
    when = format_utc(first.from_time)
    grounds = f"it is {first.outcome}: {first.why}" if first.outcome == "committed" else f"its outcome: {first.why}"
    many = f"{rivals} other statements are" if rivals > 1 else "another statement is"
    others = f"; {many} as likely: look first" if rivals else ""
    return f"the first statement of it began at {when}, and {grounds}{others}"


def _command(instance: str, proposal: Proposal) -> str:
    """What to run next, with every table that the statements name."""
    parts = ["rowback", "plan", instance, "--at", format_utc(proposal.target_time)]
    parts += ["--database", proposal.database or "DATABASE"]
    for table in proposal.tables:
        parts += ["--table", table]
    if proposal.mode == "repair":
        parts += ["--mode", "repair"]
    for xid in proposal.incident_xids:
        parts += ["--incident-xid", str(xid)]
    return shlex.join(parts)
