"""Sightings → suspects, the likeliest first."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from guards.statements import Classified, Danger
from recovery.incident.damage import costs_rows
from recovery.incident.statement_redaction import on_one_line, shape_of, without_values
from recovery.incident.statement_retention import danger_of, says_which
from recovery.incident.statement_sighting import Outcome, Sighting
from recovery.model.incident_findings import Reached, StatementReach, Suspect
from recovery.model.values import name_parts

# Damage comes first: an unbounded statement whose end no log shows stands before any bounded one that was committed.
BY_DANGER = {Danger.READ: 0, Danger.WRITE: 20, Danger.DESTRUCTIVE: 150, Danger.CATASTROPHIC: 160, Danger.UNKNOWN: 10}
CASCADES = 10  # what hangs on the table went with it
BY_OUTCOME = {Outcome.COMMITTED: 30, Outcome.UNKNOWN: 10, Outcome.ROLLED_BACK: -200}
NAMED, REACHED, ELSEWHERE = 40, 30, -200
FAR = 15  # a write whose condition names no row by its key may have hit any number of them
JUMPED = 15  # the table's own counters say that many of its rows went or changed lately
# Of a shape that comes again and again over a long time: what is done all day is seldom the incident.
HABIT, HABIT_TIMES, HABIT_S = -30, 5, 600
EMPTIED_OFTEN = -40  # stays among the possible ones
BY_HAND = re.compile(r"psql|pgadmin|dbeaver|datagrip|pytest|test|unittest|python", re.IGNORECASE)
OWN, OWN_WRITES = "rowback", -200  # a repair, or an undo: `rowback cases` knows of it
# Not every log_line_prefix names the application: what only our own sessions have, and the mark of our own ALTER TABLE.
# Statements that only mention our before-images may be anybody's.
_OWN_TEXT = re.compile(r'"pg_temp"\."rowback_stage_\d+"|^\s*/\* rowback \*/')
OF_RDS = "rdsadmin"  # RDS's own housekeeping; no customer can connect to that database (sources: RDS-roles)
_QUOTED = re.compile(r'"[^"]*"|"[^"]*$')
Closure = Callable[[Sequence[str], StatementReach], Sequence[Reached]]


@dataclass(frozen=True)
class Question:
    """What the user knows already. `show_values`: statements with their constants, and parameters."""

    database: str | None = None
    table: str | None = None
    since_s: float | None = None
    until_s: float | None = None
    show_values: bool = False


def suspects_in(sightings: Iterable[Sighting], question: Question, closure: Closure | None = None) -> list[Suspect]:
    """Those that the question allows, by their score and, among equals, the latest first.

    `closure`: the tables that a statement reaches, asked of the live catalog; None where there is none to ask.
    """
    relevant = [each for each in sightings if _asked_for(each, question)]
    habits = habits_of(relevant)
    return ranked(
        _suspect(each, question, closure, habits.get((each.record.database, shape_of(each.text)), 0))
        for each in relevant
    )


def ranked(suspects: Iterable[Suspect]) -> list[Suspect]:
    """The likeliest first; of equals the latest."""
    return sorted(suspects, key=lambda suspect: (-suspect.score, -suspect.from_time.timestamp()))


def habits_of(sightings: Iterable[Sighting]) -> dict[tuple[str, str], int]:
    """(database, shape) of what comes again and again, over a long time → how often.

    A burst is none, from however many sessions: it may be the deploy or the script that did it.
    """
    by_shape: dict[tuple[str, str], list[Sighting]] = {}
    for each in sightings:
        if each.outcome is not Outcome.ROLLED_BACK:
            by_shape.setdefault((each.record.database, shape_of(each.text)), []).append(each)
    return {
        shape: len(each)
        for shape, each in by_shape.items()
        if len(each) >= HABIT_TIMES and each[-1].from_s - each[0].from_s >= HABIT_S
    }


def _asked_for(sighting: Sighting, question: Question) -> bool:
    ended = sighting.until_s if sighting.until_s is not None else sighting.from_s
    database = sighting.record.database
    in_database = database != OF_RDS if question.database is None else database in ("", question.database)
    dropped = _dropped_database(sighting.text)
    return (
        (in_database or (dropped is not None and question.database == dropped))
        and (question.since_s is None or ended + 1 >= question.since_s)
        and (question.until_s is None or sighting.from_s <= question.until_s)
    )


def _dropped_database(text: str) -> str | None:
    """It is dropped from another one."""
    if "database" not in text.lower():
        return None
    worst = danger_of(text).worst
    return next((f.objects[0] for f in worst if f.verb == "DROP DATABASE" and f.objects), None)


def _suspect(sighting: Sighting, question: Question, closure: Closure | None, alike: int) -> Suspect:
    classified = danger_of(sighting.text)
    dropped = _dropped_database(sighting.text)
    of_tables = [name for f in classified.worst if f.reach is None for name in f.objects]
    named = [] if dropped else of_tables + [*sighting.objects]
    tables = tuple(name for name in dict.fromkeys(named) if not name.startswith("pg_temp"))
    reached = tuple(_known_then(sighting, closure(tables, _reach(classified)))) if closure and tables else ()
    targets, ambiguous = _resolve_tables(tables, reached, question.table)
    record = sighting.record
    costly = sorted(classified.worst, key=costs_rows, reverse=True)
    costs = not costly or costs_rows(costly[0])
    score = BY_DANGER[classified.danger if costs else Danger.UNKNOWN] + BY_OUTCOME[sighting.outcome]
    if costs and classified.danger is Danger.DESTRUCTIVE:
        score += CASCADES * any(finding.cascade for finding in classified.worst)
    if classified.danger is Danger.WRITE:
        score += -20 if says_which(sighting.text) else FAR
    score += _by_table(question.table, targets, reached) + 5 * bool(BY_HAND.search(record.application))
    own = record.application == OWN or bool(_OWN_TEXT.search(sighting.text))
    score += OWN_WRITES * own
    if alike:
        score += HABIT if classified.danger is Danger.WRITE else EMPTIED_OFTEN
    score += JUMPED * any(reached_table.rows_before is not None for reached_table in reached)
    return Suspect(
        from_time=_moment(sighting.from_s),
        exact=record.exact,
        committed_by=_moment(sighting.until_s) if sighting.until_s is not None else None,
        outcome=sighting.outcome.value,
        why=_effect_text(sighting.why, question),
        danger=str(classified.danger),  # type: ignore[arg-type]
        statement=(on_one_line if question.show_values else without_values)(sighting.text),
        tables=tables,
        effects=tuple(_effect_text(str(each), question) for each in costly),
        reached=reached,
        target_tables=targets,
        ambiguous=ambiguous,
        parameters=sighting.parameters if question.show_values else "",
        role=record.role,
        database=dropped or record.database,
        client=record.client,
        application=record.application,
        pid=record.pid,
        xid=sighting.xid,
        duration_ms=sighting.duration_ms,
        own=own,
        costs_rows=costs,
        alike=alike,
        score=score,
    )


def _reach(classified: Classified) -> StatementReach:
    if any(finding.cascade for finding in classified.worst):
        return StatementReach.CASCADE
    return (
        StatementReach.DELETE if any(finding.verb == "DELETE" for finding in classified.worst) else StatementReach.NAMED
    )


def _by_table(table: str | None, tables: Sequence[str], reached: Sequence[Reached]) -> int:
    if table is None:
        return 0
    if any(same_table(table, name) for name in tables):
        return NAMED
    return REACHED if any(same_table(table, each.table) for each in reached) else ELSEWHERE


def _known_then(sighting: Sighting, hits: Iterable[Reached]) -> Iterator[Reached]:
    """A look that came after the statement tells nothing of what was before."""
    latest_s = sighting.from_s + (0 if sighting.record.exact else 1)  # a log's seconds are cut off
    for each in hits:
        late = each.counted_at is not None and each.counted_at.timestamp() > latest_s
        yield each.model_copy(update={"rows_before": None, "counted_at": None}) if late else each


def _resolve_tables(
    names: Sequence[str], reached: Sequence[Reached], requested: str | None
) -> tuple[tuple[str, ...], bool]:
    """The tables of these names, and whether one of them may be another: a log does not tell the search_path."""
    names_in_full, ambiguous = [], False
    for name in names:
        candidates = [each for each in reached if same_table(name, each.table)]
        if len(candidates) > 1:
            ambiguous = True
            requested_ones = [each for each in candidates if requested and same_table(requested, each.table)]
            jumped = [each for each in candidates if each.rows_before is not None]
            candidates = next((few for few in (requested_ones, jumped) if len(few) == 1), candidates)
        names_in_full += [each.table for each in candidates] or [name]
    return tuple(dict.fromkeys(names_in_full)), ambiguous


def same_table(one: str, other: str) -> bool:
    """Table names as people write them: with their schema or without, quoted or not."""
    a, b = name_parts(one), name_parts(other)
    return a[-1] == b[-1] and (len(a) == 1 or len(b) == 1 or a[-2] == b[-2])


def _effect_text(text: str, question: Question) -> str:
    """What the server or the parser said; what it quotes may be a value."""
    return text if question.show_values else _QUOTED.sub('"…"', text)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
