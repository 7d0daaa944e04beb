"""Which transactions were the incident: those that were named, their savepoints, and what they changed elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from recovery.changeset.row_lines import ChangedRow
from recovery.compare.classify_row import columns_by_writer
from recovery.compare.table_diff import Comparison
from recovery.errors import ErrorId, RowbackError
from recovery.model.modes.reload_mode import IncidentNeed
from recovery.model.repair_plan import RepairRequest, Writer
from recovery.model.row_class import WRITTEN_SINCE, RowClass
from recovery.model.values import counted
from recovery.postgres.comparison.row_lineage import committed
from recovery.postgres.comparison.subtransactions import commit_times, committed_between, first_commands
from recovery.postgres.connect import Session
from recovery.postgres.row_versions import xmin_of

WRITERS_SHOWN = 8
UNTOUCHED = "nothing was written to the original"


@dataclass(frozen=True)
class Incident:
    """`xids`: xmin of the rows it wrote.

    `assumed`: those that were added as its savepoints. `possible`: writers that may be its savepoints, which nothing
    proves.
    """

    xids: frozenset[int]
    assumed: tuple[int, ...] = ()
    possible: tuple[Writer, ...] = ()


def writers_of(comparison: Comparison) -> list[Writer]:
    """Every transaction that last wrote rows that differ from T, the largest first."""
    writers = []
    for name, compared in comparison.tables.items():
        changed = comparison.changes.lines.changed(compared.shape.no, WRITTEN_SINCE)
        by_writer = columns_by_writer(changed, compared.columns.columns)
        writers += [Writer(xid=xid, table=name, rows=rows, columns=names) for xid, (rows, names) in by_writer.items()]
    return sorted(writers, key=lambda writer: -writer.rows)


def incident_of(
    comparison: Comparison, request: RepairRequest, writers: Sequence[Writer], repaired: Collection[int]
) -> Incident:
    """The transactions that were named, and their savepoints as far as there is proof: the same commit time.

    Or no other transaction's id in between, no command of number 0, and the very values that the named one left.
    """
    named = {xmin_of(xid) for xid in request.incident_xids}
    named |= {w.xid for w in writers if any(low <= w.xid <= high for low, high in request.incident_ranges)}
    original, others = comparison.original, sorted({w.xid for w in writers} - named)
    if not named or not others:
        return Incident(frozenset(named))
    times = commit_times(original, [*named, *others])
    if times:
        same = {xid for xid in others if times.get(xid) and times[xid] in {times.get(each) for each in named}}
        return Incident(frozenset(named | same), tuple(sorted(same)))
    commands = first_commands(original, list(comparison.tables), others)
    parts = [xid for xid in others if commands.get(xid, 0) > 0 and any(xid > each for each in named)]
    alike = {xid for xid in parts if _alike(comparison, named, xid)}
    assumed: set[int] = set()
    for xid in parts:
        begun = max(each for each in named | assumed if each < xid)
        if xid in alike and not set(committed_between(original, begun, xid)) - named - assumed:
            assumed.add(xid)
    silent = named - {w.xid for w in writers} - {xmin_of(xid) for xid in repaired}
    behind = set() if _lost_rows(comparison) else _directly_behind(original, silent, others)
    possible = [w for w in writers if w.xid in (set(parts) | behind) - assumed]
    return Incident(frozenset(named | assumed), tuple(sorted(assumed)), tuple(possible))


def _lost_rows(comparison: Comparison) -> bool:
    """Whether rows are gone: then a transaction that is the last writer of none may have deleted them."""
    tables = comparison.tables.values()
    return any(comparison.changes.classes(each.shape.no).get(RowClass.LOST) for each in tables)


def _directly_behind(original: Session, silent: Iterable[int], others: Sequence[int]) -> set[int]:
    """The writers whose ids follow at once on those of `silent` ones, which committed and left nothing.

    A transaction that begins to write behind a savepoint takes two ids, and its rows carry the second.
    """
    xids = set()
    for xid in silent:
        following = min((other for other in others if other > xid), default=None)
        if following is not None and not list(committed_between(original, xid, following)):
            xids.add(following)
    return xids


def _alike(comparison: Comparison, named: Collection[int], xid: int) -> bool:
    """Whether a writer left, in each column that it changed, the one value that the named transactions left there."""
    compared_alike = []
    for compared in comparison.tables.values():
        theirs, ours = dict[int, set[str | None]](), dict[int, set[str | None]]()
        for batch in comparison.changes.lines.changed(compared.shape.no, [RowClass.CHANGED]):
            _add_written(theirs, (row for row in batch if row.xmin == xid))
            _add_written(ours, (row for row in batch if row.xmin in named))
        if theirs:
            compared_alike.append(all(len(v) == 1 and ours.get(i) == v for i, v in theirs.items()))
    return bool(compared_alike) and all(compared_alike)


def _add_written(by_column: dict[int, set[str | None]], rows: Iterable[ChangedRow]) -> None:
    """Place of a changed column → the values that rows hold there now."""
    for row in rows:
        for i, value in enumerate(row.original):
            if value != row.target[i]:
                by_column.setdefault(i, set()).add(value)


def refuse_unknown_incident(
    comparison: Comparison,
    case: str,
    request: RepairRequest,
    writers: Sequence[Writer],
    facts: Sequence[str],
    anew: str,
) -> None:
    """Mode repair has to know what to revert.

    Raises incident-unknown when rows changed and no transaction was named, or a named one did not happen after T;
    nothing-to-repair when something else is gone instead. `facts`: what that is; `anew`: the command that brings it.
    """
    if request.reload_mode.incident is not IncidentNeed.REQUIRED:
        return
    tables = comparison.tables.values()
    changed = sum(comparison.changes.classes(c.shape.no).get(RowClass.CHANGED, 0) for c in tables)
    seen = {writer.xid for writer in writers}
    unseen = [xid for xid in request.incident_xids if xmin_of(xid) not in seen]
    unknown = [str(xid) for xid in unseen if not _committed_after_target(comparison, xid)]
    unknown += [
        f"{low}..{high}" for low, high in request.incident_ranges if not any(low <= xid <= high for xid in seen)
    ]
    unnamed = not request.incident_xids and not request.incident_ranges
    if not (changed and unnamed) and not unknown:
        return
    if facts and unnamed and not any(comparison.changes.classes(c.shape.no).get(RowClass.LOST) for c in tables):
        raise RowbackError(
            ErrorId.NOTHING_TO_REPAIR,
            "no row was lost, and no incident is named that changed any",
            *facts,
            state=UNTOUCHED,
            help=[
                f"if nothing else is wrong, bring what T held: {anew}",
                f"if rows were changed wrongly as well, look first: rowback diff {case} --show changed",
            ],
        )
    fact = (
        f"transaction {unknown[0]} wrote none of the rows that differ from T, and did not commit after T"
        if unknown
        else f"{counted(changed, 'row')} changed since T, and which transaction was the incident is not known"
    )
    raise RowbackError(
        ErrorId.INCIDENT_UNKNOWN,
        fact,
        *(
            f"transaction {w.xid}: {counted(w.rows, 'row')} of {w.table} ({', '.join(w.columns)})"
            for w in writers[:WRITERS_SHOWN]
        ),
        *(
            [f"and {counted(len(writers) - WRITERS_SHOWN, 'transaction')} more that changed fewer rows"]
            if len(writers) > WRITERS_SHOWN
            else []
        ),
        *facts,
        "most of them are ordinary work: name one only if you know that it was the incident (rowback find tells more)",
        state=UNTOUCHED,
        help=f"rowback diff {case} --mode repair --incident-xid XID, or without changed rows: rowback diff {case}"
        " --mode missing",
    )


def _committed_after_target(comparison: Comparison, xid: int) -> bool:
    """Whether a transaction of that id committed after T, though others have rewritten every row it wrote."""
    if comparison.lineage is None:
        return committed(comparison.original, xid)
    return comparison.lineage.committed_after_target(comparison.original, xid)


def incident_notices(incident: Incident, request: RepairRequest, writers: Sequence[Writer], case: str) -> list[str]:
    """What the plan tells of the incident's transactions."""
    seen = {writer.xid for writer in writers}
    lines = [
        f"transaction {xid} is not the last writer of any row of T that differs now: if it worked behind a savepoint,"
        f" its rows carry one of the next ids (rowback diff {case} --show newer)"
        for xid in request.incident_xids
        if xmin_of(xid) not in seen
    ]
    if incident.assumed:
        lines.append(f"taken for savepoints of the incident: transactions {', '.join(map(str, incident.assumed))}")
    lines += [
        f"{w.rows:,} rows of {w.table} carry transaction {w.xid}, which wrote {_where(w, request, seen)}: it may be a"
        f" savepoint of the incident (if it is: --incident-xid {w.xid} as well)"
        for w in incident.possible
    ]
    return lines


def undecided_notices(comparison: Comparison, request: RepairRequest) -> list[str]:
    """Named transactions of which the copy cannot say whether they had committed by T."""
    if comparison.lineage is None:
        return []
    return [
        f"the copy knows transaction {xid} as committed, by T or as one of its own: if rows of it are missed here, T"
        " lies behind it, and an earlier --at is needed"
        for xid in comparison.lineage.undecided(request.incident_xids)
    ]


def _where(writer: Writer, request: RepairRequest, seen: Collection[int]) -> str:
    before = [xmin_of(xid) for xid in request.incident_xids if xmin_of(xid) < writer.xid]
    if before and max(before) not in seen:
        return "right behind one that left nothing"
    return "in the middle of another one"
