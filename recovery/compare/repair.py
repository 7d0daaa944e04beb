"""From two servers to a repair plan: compare, follow, attribute, resolve, foresee, count."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from recovery.compare.changes import ChangeSet
from recovery.compare.classify import WRITTEN_BY_SOMEBODY, columns_by_writer
from recovery.compare.comparing import Compared, Comparison
from recovery.compare.decisions import Decision, apply_decisions
from recovery.compare.following import follow, follow_whole, links, predicates
from recovery.compare.mapping import Mapping as Columns
from recovery.compare.mapping import map_table, same_table_at
from recovery.compare.objects import object_notices
from recovery.compare.staging import foresee
from recovery.errors import ErrorId, RowbackError
from recovery.model.catalog import Catalog
from recovery.model.plan import PlannedTable, RecoveryPlan, Why
from recovery.model.repair import Engine, Mode, Op, RepairPlan, RepairRequest, RowClass, TableRepair, Writer
from recovery.model.values import TableName
from recovery.postgres.catalog import read_catalog
from recovery.postgres.connect import Session
from recovery.postgres.repair.lineage import committed, lineage_of
from recovery.postgres.repair.predicates import NO_ROW, Predicate
from recovery.postgres.repair.rules import read_rules
from recovery.postgres.repair.scan import Ask, stream
from recovery.postgres.watchers import who_notices

WRITERS_TOLD, WRITERS_KEPT = 8, 50
WRITTEN_AFTER_T = (RowClass.NEW, RowClass.NEWER, RowClass.CHANGED, RowClass.CONFLICT, RowClass.REUSED)
SAVEPOINTS_NEAR = 16
UNTOUCHED = "nothing was written to the original"


@dataclass(frozen=True)
class Inquiry:
    """What is to be compared: the plan's tables but those in `filled`, which are loaded whole.

    `boundary`: the first transaction id that the copy may have used itself; None: compare without lineage.
    """

    case: str
    plan: RecoveryPlan
    request: RepairRequest
    filled: Sequence[TableName]
    number: int
    boundary: int | None
    decisions: Sequence[Decision] = ()


def make_repair_plan(
    live: Session, copy: Session, inquiry: Inquiry, changes: ChangeSet, *, ask: Ask = stream
) -> RepairPlan:
    """Compare everything and fill `changes`. Reads only; the original's rows are seen in one snapshot.
    `ask`: how the copy's checksums are read, which may be remembered.

    Raises schema-drift when columns cannot be mapped, incident-unknown when rows changed and nobody said by whom.
    """
    with live.transaction(force_rollback=True):
        live.execute("set transaction isolation level repeatable read")
        then, now = read_catalog(copy), read_catalog(live)
        planned = [table for table in inquiry.plan.tables if table.name not in set(inquiry.filled)]
        columns = _map_tables(planned, then, now, inquiry)
        lineage = None if inquiry.boundary is None else lineage_of(live, copy, inquiry.boundary)
        rules = read_rules(live, [found.live for found in columns.values()])
        comparison = Comparison(live, copy, then, now, rules, lineage, changes, inquiry.request, ask)
        _compare_all(comparison, planned, columns, inquiry.plan.where, inquiry.filled)
        comparison.attribute_and_resolve()
        writers = _writers(comparison)
        _refuse_unknown_incident(inquiry, comparison, writers)
        apply_decisions(changes, inquiry.decisions)
        foresee(live, now, changes, rules, inquiry.filled)
        return _plan(comparison, inquiry, writers)


def _map_tables(
    planned: Iterable[PlannedTable], then: Catalog, now: Catalog, inquiry: Inquiry
) -> dict[TableName, Columns]:
    """The tables that existed at T. One that did not is refused when it was named, and left alone otherwise."""
    found, objections = {}, []
    for table in planned:
        current = now.table(table.name)
        at_target = same_table_at(then, current, now) if current else None
        if current and at_target:
            found[table.name] = map_table(at_target, current)
            objections += [f"{table.name}: {what}" for what in found[table.name].objections]
        elif table.why is Why.NAMED:
            objections.append(f"{table.name}: the table {'did not exist at T' if current else 'does not exist now'}")
    if objections:
        raise RowbackError(
            ErrorId.SCHEMA_DRIFT, "the schema changed since T, so the rows at T do not fit", *objections,
            state=UNTOUCHED,
            help=f"bring the columns back and: rowback resume {inquiry.case}; or rowback close {inquiry.case}, then a"
            " new plan with --except for those tables",
        )  # fmt: skip
    return found


def _compare_all(
    comparison: Comparison, planned: Sequence[PlannedTable], columns: Mapping[TableName, Columns], where: str | None,
    filled: Iterable[TableName],
) -> None:  # fmt: skip
    asked = [Why.NAMED] if where is not None else [why for why in Why if why is not Why.FOLLOWED]
    roots = [table.name for table in planned if table.why in asked and table.name in columns]
    limits: dict[TableName, tuple[Predicate, Predicate]] = {}
    if where is not None:
        back_then = predicates([columns[name].at_target.name for name in roots], where, comparison.then)
        today = predicates(roots, where, comparison.now)
        for name, found in columns.items():
            either = (back_then.get(found.at_target.name), today.get(name))
            if any(limit is not None for limit in either):
                limits[name] = (either[0] or NO_ROW, either[1] or NO_ROW)
        roots = list(limits)
    for name in roots:
        comparison.compare_table(columns[name], limits.get(name))
    followed = {name: found for name, found in columns.items() if name not in comparison.tables}
    whole = {
        name: map_table(at_target, live) for name in filled
        if (live := comparison.now.table(name)) and (at_target := same_table_at(comparison.then, live, comparison.now))
    }  # fmt: skip
    ways = links(comparison.then, comparison.now, {**columns, **whole})
    follow_whole(comparison, followed, whole, ways)
    follow(comparison, followed, ways)


def _writers(comparison: Comparison) -> list[Writer]:
    found = []
    for name, compared in comparison.tables.items():
        changed = comparison.changes.changes(compared.shape.no, kinds=WRITTEN_BY_SOMEBODY)
        by_writer = columns_by_writer(changed, compared.columns.columns)
        found += [Writer(xid=xid, table=name, rows=rows, columns=names) for xid, (rows, names) in by_writer.items()]
    return sorted(found, key=lambda writer: -writer.rows)


def _refuse_unknown_incident(inquiry: Inquiry, comparison: Comparison, writers: Sequence[Writer]) -> None:
    request = inquiry.request
    if request.mode is not Mode.REPAIR:
        return
    found = (comparison.changes.classes(compared.shape.no) for compared in comparison.tables.values())
    changed = sum(classes.get(RowClass.CHANGED, 0) for classes in found)
    known = {writer.xid for writer in writers}
    unknown = [xid for xid in request.incident_xids if xid not in known and not _happened(comparison, xid)]
    if (changed and not request.incident_xids) or unknown:
        fact = (
            f"transaction {unknown[0]} wrote none of the rows that differ from T, and did not commit after T" if unknown
            else f"{changed:,} rows changed since T, and which transaction was the incident is not known"
        )  # fmt: skip
        worst = f" --incident-xid {writers[0].xid}" if writers else ""
        raise RowbackError(
            ErrorId.INCIDENT_UNKNOWN, fact,
            *(f"transaction {w.xid}: {w.rows:,} rows of {w.table} ({', '.join(w.columns)})"
              for w in writers[:WRITERS_TOLD]),
            state=UNTOUCHED,
            help=f"name the bad one: rowback diff {inquiry.case} --mode repair{worst}",
        )  # fmt: skip


def _happened(comparison: Comparison, xid: int) -> bool:
    """Whether a transaction of that id committed after T, though others have rewritten every row it wrote."""
    if comparison.lineage is None:
        return committed(comparison.live, xid)
    return comparison.lineage.committed_after_target(comparison.live, xid)


def _erased(comparison: Comparison, inquiry: Inquiry, writers: Sequence[Writer]) -> list[str]:
    known = {writer.xid for writer in writers}
    return [
        f"every row that transaction {xid} changed was rewritten by others since; what it left there cannot be told"
        for xid in inquiry.request.incident_xids if xid not in known
    ]  # fmt: skip


def _maybe_savepoints(inquiry: Inquiry, writers: Sequence[Writer]) -> list[str]:
    """Rows written behind a savepoint carry an id of their own, soon after their transaction's."""
    named = set(inquiry.request.incident_xids)
    near = sorted({w.xid for w in writers if any(x < w.xid <= x + SAVEPOINTS_NEAR for x in named)} - named)
    told = ", ".join(map(str, near))
    line = (
        f"transactions {told} came right after the incident; if they are its savepoints, name them --incident-xid, too"
    )
    return [line] if near else []


def _plan(comparison: Comparison, inquiry: Inquiry, writers: Sequence[Writer]) -> RepairPlan:
    changes = comparison.changes
    tables = tuple(_table(comparison, compared) for compared in comparison.tables.values())
    written = {table.name for table in tables if table.writes}
    indexes = {name: len(rules.distinct) + 1 for name, rules in comparison.rules.items()}
    wal = sum(
        changes.bytes_wanted(compared.shape.no) + 100 * table.writes * indexes[table.name]
        for compared, table in zip(comparison.tables.values(), tables, strict=True)
    )
    triggers = [t for table in comparison.now.tables if table.name in written for t in table.triggers if t.state != "D"]
    return RepairPlan(
        case=inquiry.case,
        number=inquiry.number,
        request=inquiry.request,
        tables=tables,
        filled=tuple(inquiry.filled),
        writers=tuple(writers[:WRITERS_KEPT]),
        held_triggers=tuple(triggers),
        notices=(
            *comparison.notices,
            *_erased(comparison, inquiry, writers),
            *_maybe_savepoints(inquiry, writers),
            *object_notices(comparison.live, comparison.copy, changes, comparison.now),
            *who_notices(comparison.live, [*written, *inquiry.filled]),
        ),
        wal_bytes_estimated=wal,
        changes_digest=changes.digest(),
    )


def _table(comparison: Comparison, compared: Compared) -> TableRepair:
    name, no = compared.columns.live.name, compared.shape.no
    tally = comparison.changes.tally(no)
    classes, ops = comparison.changes.classes(no), comparison.changes.planned(no)
    if (new := comparison.new_rows.get(name, 0)) > classes.get(RowClass.NEW, 0):
        classes[RowClass.NEW] = new
    # Rows that were only followed, or only limited by a predicate, say nothing about the rest of their table.
    at_target = 0
    if compared.engine is not Engine.FOLLOWED:
        at_target = comparison.rows_at_target(name)
        listed = sum(tally.values()) - comparison.changes.without_target(no)
        classes[RowClass.UNCHANGED] = max(0, at_target - listed)
    return TableRepair(
        name=name, engine=compared.engine, because=compared.because, rows_at_target=at_target,
        classes=dict(sorted(classes.items())), inserts=ops[Op.INSERT], updates=ops[Op.UPDATE],
        deletes=ops[Op.DELETE], mapped=compared.columns.notes,
        loses=sum(n for (kind, op), n in tally.items() if op in (Op.UPDATE, Op.DELETE) and kind in WRITTEN_AFTER_T),
    )  # fmt: skip
