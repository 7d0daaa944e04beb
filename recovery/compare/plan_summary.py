"""What a comparison amounts to: the repair plan, with its account, its notices and its size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recovery.changeset.column_mapping import ColumnMapping
from recovery.changeset.missing_large_objects import object_notices
from recovery.changeset.planned_account import account_of
from recovery.changeset.row_change import column_numbers, key_text
from recovery.compare.attribution import Incident, incident_notices, undecided_notices
from recovery.compare.out_of_scope_rows import children_outside, written_outside
from recovery.compare.table_diff import ComparedTable, Comparison
from recovery.model.account import KEYS_SHOWN, LostValues
from recovery.model.repair_plan import DetectionMethod, LiftedConstraint, RepairPlan, RepairRequest, TableRepair, Writer
from recovery.model.row_class import WRITTEN_AFTER_T, Op, RowClass
from recovery.model.values import TableName, counted
from recovery.postgres.change_consumers import who_notices
from recovery.postgres.comparison.table_scan import count_filled
from recovery.postgres.connect import Session

WRITERS_KEPT = 50


@dataclass(frozen=True)
class ComparisonResult:
    """One finished comparison.

    `request`: as the user made it. `dropped`: tables that are gone since T, and columns with what they held. `scope`:
    the tables that were to be compared.
    """

    comparison: Comparison
    incident: Incident
    writers: Sequence[Writer]
    request: RepairRequest
    dropped: Sequence[str]
    scope: frozenset[TableName]
    lifted: tuple[LiftedConstraint, ...] = ()
    values_lost: tuple[LostValues, ...] = ()


def repair_plan(
    outcome: ComparisonResult, case: str, number: int, filled: Sequence[TableName], unfit: Sequence[str]
) -> RepairPlan:
    """The plan that follows from a comparison.

    `filled`: tables to be loaded whole. `unfit`: tables that could not be compared, with the reason.
    """
    comparison = outcome.comparison
    changes, now = comparison.changes, comparison.now
    compared = [_table(comparison, each) for each in comparison.tables.values()]
    tables = tuple(
        table for table in compared if table.engine is not DetectionMethod.FOLLOWED or table.account.at_target
    )
    written = {table.name for table in tables if table.writes}
    scope = {
        *filled,
        *(c.columns.original.name for c in comparison.tables.values() if c.engine is not DetectionMethod.FOLLOWED),
    }
    elsewhere, unseen = written_outside(comparison, outcome.incident, scope)
    elsewhere += children_outside(comparison, outcome.scope, filled)
    unexamined = (
        *unfit,
        *(f"{name}: it could not be compared: {words}" for name, words in comparison.not_compared.items()),
        *(
            f"{name}: rows that lost rows lead to were not looked for, because it has no key: name it with --table"
            for name in sorted(comparison.unexamined, key=lambda name: name.key)
        ),
        *(
            f"{name}: whether the incident wrote there was not looked at, because it is larger than 1 GiB: name it with"
            " --table"
            for name in unseen
        ),
    )
    return RepairPlan(
        case=case,
        number=number,
        request=comparison.request,
        tables=tables,
        filled=tuple(filled),
        writers=tuple(outcome.writers[:WRITERS_KEPT]),
        held_triggers=tuple(
            t for table in now.tables if table.name in written | set(filled) for t in table.triggers if t.state != "D"
        ),
        notices=(
            *comparison.notices,
            *outcome.dropped,
            *incident_notices(outcome.incident, outcome.request, outcome.writers, case),
            *undecided_notices(comparison, outcome.request),
            *map(_lifted, outcome.lifted),
            *object_notices(comparison.original, comparison.copy, changes, now),
            *who_notices(comparison.original, [*written, *filled]),
        ),
        elsewhere=tuple(elsewhere),
        possible_incident=outcome.incident.possible,
        unexamined=unexamined,
        values_lost=outcome.values_lost,
        lifted=outcome.lifted,
        wal_bytes_estimated=_wal_bytes(comparison, compared),
        changes_digest=changes.digest(),
        columns=column_numbers(now, changes.shapes()),
    )


def _lifted(check: LiftedConstraint) -> str:
    kind = "foreign key" if check.parent else "check"
    return (
        f'{check.table}: {kind} "{check.name}" is NOT VALID, and {check.rows:,} rows of T violate it: it is dropped and'
        " added again as it is in the same transaction, which keeps readers out as well"
    )


def dropped_values(copy: Session, mapped: Mapping[TableName, ColumnMapping]) -> list[LostValues]:
    """The columns that were dropped since T and held something then."""
    lost = []
    for name, columns in mapped.items():
        for column, rows in count_filled(copy, columns.at_target.name, columns.dropped).items():
            if rows:
                text = (
                    f"column {column} was dropped since T: its {rows:,} values are not back (mode recreate brings them)"
                )
                lost.append(LostValues(table=str(name), column=column, text=text))
    return lost


def hit_in_between(comparison: Comparison, incident: Incident) -> list[LostValues]:
    """The tables in which the incident changed rows and wrote others that T does not have, and that stay.

    T is a whole second, and rows that were committed after it may have been hit as well. A table in which it only
    inserted (an audit trail) is none.
    """
    lost = []
    for name, compared in comparison.tables.items():
        no = compared.shape.no
        if not incident.xids or not comparison.changes.classes(no).get(RowClass.REVERTED):
            continue
        stay = comparison.changes.changes(no, kinds=[RowClass.NEW], ops=[Op.KEEP])
        hit = [change for change in stay if change.xmin in incident.xids]
        if hit:
            keys = "; ".join(key_text(compared.shape, change.key) for change in hit[:KEYS_SHOWN])
            text = (
                f"{counted(len(hit), 'row')} that T does not have carry the incident's transaction (keys:"
                f" {keys}{', …' * (len(hit) > KEYS_SHOWN)}): written between T and the incident and then changed by"
                " it, or inserted by it; what they held in between is in no copy"
            )
            lost.append(LostValues(table=str(name), text=text))
    return lost


def gone_notices(dropped_tables: Mapping[str, int]) -> list[str]:
    """One line for each table that was dropped since T."""
    return [
        f"{name} was dropped since T: its {rows:,} rows are not back (mode recreate makes it anew)"
        for name, rows in dropped_tables.items()
    ]


def _wal_bytes(comparison: Comparison, tables: Sequence[TableRepair]) -> int:
    indexes = {name: len(rules.distinct) + 1 for name, rules in comparison.rules.items()}
    return sum(
        comparison.changes.bytes_wanted(compared.shape.no) + 100 * table.writes * indexes[table.name]
        for compared, table in zip(comparison.tables.values(), tables, strict=True)
    )


def _table(comparison: Comparison, compared: ComparedTable) -> TableRepair:
    name, no = compared.columns.original.name, compared.shape.no
    tally = comparison.changes.tally(no)
    classes, ops = comparison.changes.classes(no), comparison.changes.planned(no)
    if (new := comparison.new_rows.get(name, 0)) > classes.get(RowClass.NEW, 0):
        classes[RowClass.NEW] = new
    # Rows that were only followed, or only limited by a predicate, say nothing about the rest of their table.
    at_target = unchanged = 0
    if compared.engine is not DetectionMethod.FOLLOWED:
        at_target = comparison.rows_at_target(name)
        listed = sum(tally.values()) - comparison.changes.without_target(no)
        classes[RowClass.UNCHANGED] = unchanged = max(0, at_target - listed)
    return TableRepair(
        name=name,
        engine=compared.engine,
        because=compared.because,
        rows_at_target=at_target,
        classes=dict(sorted(classes.items())),
        inserts=ops[Op.INSERT],
        updates=ops[Op.UPDATE],
        deletes=ops[Op.DELETE],
        mapped=compared.columns.notes,
        loses=sum(n for (kind, op), n in tally.items() if op in (Op.UPDATE, Op.DELETE) and kind in WRITTEN_AFTER_T),
        account=account_of(comparison.changes, compared.shape, unchanged=unchanged),
    )
