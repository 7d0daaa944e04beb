"""Suspects → the target time. Replay includes every commit up to it; RDS takes whole seconds (sources: RDS-time)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Literal

from guards.plain_text import shell_word
from recovery.model.incident_findings import Choice, Proposal, Suspect
from recovery.model.instance import RestoreWindow
from recovery.model.target import format_utc
from recovery.model.values import name_parts

# What mode recreate makes anew: what can be named by --table, a schema by all that is in it, and the rest unnamed.
BY_NAME = ("DROP TABLE", "DROP VIEW", "DROP MATVIEW", "DROP SEQUENCE", "DROP FOREIGN TABLE")
SCHEMAS = ("DROP SCHEMA",)
UNNAMED = ("DROP FUNCTION", "DROP PROCEDURE", "DROP TYPE", "DROP DOMAIN", "DROP INDEX", "DROP TRIGGER", "DROP POLICY")
DATABASES = ("DROP DATABASE",)
ENOUGH = 45  # below it a suspect is shown, but no time is proposed for it: a far write whose end no log shows
SURE = 60  # below it confidence is low
ALIKE = 10  # of bounded writes, those whose scores are so near are possible as well
TOGETHER = timedelta(minutes=10)
Incident = list[Suspect]


def propose(
    suspects: Sequence[Suspect], instance: str | None, window: RestoreWindow | None, *, retention_days: int = 0
) -> Proposal | None:
    """A time before the likeliest suspect and all others of its transaction or of the same session near it.

    Where several incidents are possible, a time before all of them, and a choice of theirs.

    None when nothing is likely enough: a wrong time gives plausible wrong data. Never a time later than the beginning
    of an unbounded statement of which nothing proves that it was rolled back.
    """
    likely = [s for s in suspects if s.outcome != "rolled back" and s.score >= _enough(s) and not s.own]
    if not likely:
        return None
    incidents = _apart_from_habits(_incidents(likely))
    together = [suspect for incident in incidents for suspect in incident]
    first = min(together, key=lambda suspect: suspect.from_time)
    target = _before(first)
    many = f"{len(incidents)} incidents are possible" if len(incidents) > 1 else ""
    unsure = any(s.outcome == "unknown" or s.ambiguous for s in together)
    aside = [s for s in suspects if s.alike and s.outcome != "rolled back" and not s.unbounded]
    unclear = (
        bool(aside)
        or len(incidents) > 1
        or likely[0].score < SURE
        or any(len(s.target_tables) > len(s.tables) for s in together)
    )
    made = (_choice(incident, instance or "INSTANCE") for incident in incidents)
    choices = tuple(sorted(made, key=lambda choice: choice.from_time))
    return Proposal(
        target_time=target,
        confidence="low" if unclear else "medium" if unsure else "high",
        because="; ".join(filter(None, [many, _because(first), *_but(together), *_aside(aside)])),
        in_window=window.earliest <= target <= window.latest if window else None,
        reachable_until=target + timedelta(days=retention_days) if retention_days else None,
        database=likely[0].database,
        tables=_tables(together),
        mode=_mode(together),
        incident_xids=_xids(together),
        command=choices[0].command if len(choices) == 1 else "",
        choices=choices if len(choices) > 1 else (),
    )


def _incidents(likely: Sequence[Suspect]) -> list[Incident]:
    """What belongs together, the likeliest first: all that is unbounded, or what is as likely as the likeliest."""
    best = likely[0]
    possible = [s for s in likely if s.unbounded or (not best.unbounded and s.score >= best.score - ALIKE)]
    incidents: list[Incident] = []
    of_session: dict[tuple[str, int], list[Incident]] = {}
    for suspect in possible:
        same = of_session.setdefault((suspect.database, suspect.pid), [])
        if mine := _near(suspect, same):
            mine.append(suspect)
        else:
            same.append([suspect])
            incidents.append(same[-1])
    used = {id(suspect) for suspect in possible}
    for suspect in likely:  # what is bounded itself and was done beside it
        if id(suspect) not in used and (mine := _near(suspect, of_session.get((suspect.database, suspect.pid), ()))):
            mine.append(suspect)
    return incidents


def _enough(suspect: Suspect) -> float:
    """The score from which a suspect is proposed: infinite where it removes no rows, higher for a function."""
    if not suspect.costs_rows:
        return math.inf
    return SURE if suspect.danger == "unknown" else ENOUGH


def _apart_from_habits(incidents: Sequence[Incident]) -> list[Incident]:
    """Of what comes again and again the latest stands for all, where there is anything else."""
    unusual = [each for each in incidents if not all(suspect.alike for suspect in each)]
    if not unusual:
        return list(incidents)
    latest: dict[tuple[str, ...], Incident] = {}
    for each in sorted(incidents, key=lambda incident: incident[0].from_time):
        if each not in unusual:
            latest[each[0].database, *each[0].effects] = each
    return [*unusual, *latest.values()]


def _near(suspect: Suspect, incidents: Sequence[Incident]) -> Incident | None:
    """The incident of the same session that began soon before or after: a script of several statements."""
    return next((each for each in incidents if abs(suspect.from_time - each[0].from_time) <= TOGETHER), None)


def _choice(incident: Incident, instance: str) -> Choice:
    first = min(incident, key=lambda suspect: suspect.from_time)
    assert first.outcome != "rolled back"
    return Choice(
        what=_what(first),
        from_time=first.from_time,
        outcome=first.outcome,
        target_time=_before(first),
        command=_command(instance, incident, _before(first)),
        tables=_tables(incident),
    )


def _what(first: Suspect) -> str:
    often = f", one of {first.alike:,} alike" if first.alike else ""
    return ("; ".join(first.effects) or first.statement) + often


def _tables(incident: Incident) -> tuple[str, ...]:
    """As --table takes them: a schema that was dropped is all that was in it."""
    return tuple(
        dict.fromkeys(
            f"{name}.*" if _all_begin(suspect, SCHEMAS) else _qualified(name)
            for suspect in incident
            for name in suspect.target_tables
        )
    )


def _mode(incident: Incident) -> Literal["missing", "repair"]:
    changes = any(suspect.effects and suspect.effects[0].startswith(("UPDATE", "MERGE")) for suspect in incident)
    return "repair" if changes else "missing"


def _xids(incident: Incident) -> tuple[int, ...]:
    return tuple(dict.fromkeys(suspect.xid for suspect in incident if suspect.xid))


def _but(together: Sequence[Suspect]) -> Iterator[str]:
    """What stands between the proposal and its use."""
    if any(s.ambiguous for s in together):
        yield "several tables have one of its names, and no log tells the search_path: check --table"
    if any(_all_begin(s, DATABASES) for s in together):
        yield (
            "rowback puts rows into databases that exist: take what was dropped out of the whole instance as of that"
            " time, restored under another name, with pg_dump"
        )
    if any(_is_made_anew(s) for s in together):
        yield "what was dropped is made anew, with what hung on it: --mode recreate"


def _aside(suspects: Sequence[Suspect]) -> Iterator[str]:
    """What comes all day is left aside, and may have gone wrong once."""
    if suspects:
        yield (
            f"{len(suspects)} statements that come all day were left aside, the last of them at"
            f" {format_utc(max(each.from_time for each in suspects))}: if it was one of those, name its --table"
        )


def _all_begin(suspect: Suspect, words: tuple[str, ...]) -> bool:
    return bool(suspect.effects) and all(effect.startswith(words) for effect in suspect.effects)


def _is_made_anew(suspect: Suspect) -> bool:
    return _all_begin(suspect, (*BY_NAME, *SCHEMAS, *UNNAMED)) or _drops_columns(suspect)


def _drops_columns(suspect: Suspect) -> bool:
    return bool(suspect.effects) and all(
        effect.startswith("ALTER TABLE") and "(DROP COLUMN" in effect for effect in suspect.effects
    )


def _qualified(name: str) -> str:
    return name if len(name_parts(name)) > 1 else f"public.{name}"


def _before(first: Suspect) -> datetime:
    """The whole second before which nothing of it can have been committed.

    A full second by an exact clock may be that very moment, which replay includes; without fractions it is a second
    that had begun.
    """
    second = first.from_time.replace(microsecond=0)
    return second - timedelta(seconds=1) if first.exact and second == first.from_time else second


def _because(first: Suspect) -> str:
    when = format_utc(first.from_time)
    grounds = f"it is {first.outcome}: {first.why}" if first.outcome == "committed" else f"its outcome: {first.why}"
    return f"the first statement of it began at {when}, and {grounds}"


def _command(instance: str, incident: Incident, target: datetime) -> str:
    """What to run next, with every table that the statements name and that is still there.

    Of dropped ones and of dropped columns, what makes them anew; of a dropped database, the book.
    """
    on_tables = [each for each in incident if not (_is_made_anew(each) or _all_begin(each, DATABASES))]
    anew = [each for each in incident if _is_made_anew(each)]
    if not on_tables and not anew:
        return "rowback runbook show lost-instance"
    named = on_tables or anew
    parts = ["rowback", "plan" if on_tables else "restore", instance, "--at", format_utc(target)]
    parts += ["--database", incident[0].database or "DATABASE"]
    if not on_tables:
        parts += ["--mode", "recreate"]
    for table in _tables(named) if on_tables else _wanted(anew):
        parts += ["--table", table]
    if on_tables and _mode(named) == "repair":
        parts += ["--mode", "repair"]
    for xid in _xids(named) if on_tables else ():
        parts += ["--incident-xid", str(xid)]
    return " ".join(map(shell_word, parts))


def _wanted(anew: Sequence[Suspect]) -> list[str]:
    """The names for mode recreate; none where something was dropped that --table cannot name: then all is compared."""
    if any(not (_all_begin(each, (*BY_NAME, *SCHEMAS)) or _drops_columns(each)) for each in anew):
        return []
    return list(_tables(list(anew)))
