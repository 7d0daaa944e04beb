"""Which tables of a plan can be compared with T, and why others cannot."""

from __future__ import annotations

from collections.abc import Sequence

from guards.plain_text import shell_word
from recovery.changeset.column_mapping import ColumnMapping, map_table, same_table_at
from recovery.compare.inquiry import Inquiry
from recovery.errors import ErrorId, RowbackError
from recovery.model.catalog import Catalog
from recovery.model.recovery_plan import Why
from recovery.model.values import TableName, counted, leading_name
from recovery.postgres.comparison.key_lookup import rows_that_share_keys
from recovery.postgres.comparison.table_scan import Side
from recovery.postgres.connect import Session
from recovery.postgres.staging.column_casts import why_cast_loses

BESIDE = " (mode beside brings them)"
UNTOUCHED = "nothing was written to the original"
MADE_ANEW = (
    "it was dropped and made anew since T, so it may be another table: its rows at T go into it only if it is named"
)


def map_tables(
    inquiry: Inquiry, then: Catalog, now: Catalog, copy: Session
) -> tuple[dict[TableName, ColumnMapping], list[str]]:
    """The tables that existed at T, and why others cannot be compared.

    A table that was named is refused for that; one of a whole database is left out and reported. Raises schema-drift.
    """
    mappings: dict[TableName, ColumnMapping] = {}
    refused: list[str] = []
    unfit: list[str] = []
    for table in inquiry.plan.tables:
        named = table.why is Why.NAMED
        current = now.table(table.name)
        at_target = same_table_at(then, current, now) if current else None
        if not current or not at_target:
            (refused if named else unfit).extend(_not_there(table.name, then, now, named=named))
            continue
        if at_target.oid != current.oid and not named:
            unfit.append(f"{table.name}: {MADE_ANEW}")
            continue
        columns = map_table(at_target, current)
        objections = [*columns.objections, *_values_lost(copy, columns)]
        objections = objections or _keys_shared(copy, columns)
        if not objections:
            mappings[table.name] = columns
        elif named or not at_target.unlogged:  # an unlogged table is in no backup, whatever became of it
            (refused if named else unfit).extend(f"{table.name}: {what}" for what in objections)
    if refused or (unfit and not mappings):
        raise _drifted(inquiry, refused or unfit)
    return mappings, unfit


def _values_lost(copy: Session, columns: ColumnMapping) -> list[str]:
    """Columns whose new type does not hold what they held at T, and why."""
    types = {column.name: column.value_type for column in columns.at_target.columns}
    lost = (
        (i, why_cast_loses(copy, columns.at_target.name, columns.then[i], types[columns.then[i].name]))
        for i in columns.recast
    )
    return [f"column {columns.columns[i]} ({columns.types_of(i)}): {why}" for i, why in lost if why]


def _keys_shared(copy: Session, columns: ColumnMapping) -> list[str]:
    """Why rows at T are not looked up by the key.

    One that is newer than T, or whose type is, may be the same, or null, in several of them.
    """
    key = tuple(columns.then[i] for i in columns.key)
    as_at_target = {field.name for field in key} == set(columns.at_target.key)
    if not key or (as_at_target and not set(columns.key) & set(columns.recast)):  # a wider type tells apart as well
        return []
    rows = rows_that_share_keys(Side(copy, columns.at_target.name, key, key))
    names = ", ".join(columns.original.key)
    what = f"its key ({names}) is newer than T, where {counted(rows, 'row')} had none of their own{BESIDE}"
    return [what] if rows else []


def _not_there(name: TableName, then: Catalog, now: Catalog, *, named: bool) -> list[str]:
    """What to say of a table that has no counterpart at T.

    One that is new since T lost nothing, unless it took the name of another.
    """
    if named:
        return [f"{name}: the table {'did not exist at T' if now.table(name) else 'does not exist now'}"]
    old = then.table(name)
    renamed = next((table.name for table in now.tables if old and table.oid == old.oid), None)
    if renamed is None:
        return []
    return [f"{name}: it was made since T; the table of that name is {renamed} now, and its rows are put back there"]


def _drifted(inquiry: Inquiry, objections: Sequence[str]) -> RowbackError:
    if anew := [leading_name(line) for line in objections if line.endswith(MADE_ANEW)]:
        names = " ".join(f"--table {shell_word(name)}" for name in anew)
        return RowbackError(
            ErrorId.SCHEMA_DRIFT,
            "tables of T were made anew since, so nothing is compared unasked",
            *objections,
            state=UNTOUCHED,
            help=f"rowback close {inquiry.case}, then a new plan that names them: {names}",
        )
    if all(line.endswith(BESIDE) for line in objections):
        return RowbackError(
            ErrorId.SCHEMA_DRIFT,
            "the schema changed since T, so the rows at T are not found by their keys",
            *objections,
            state=UNTOUCHED,
            help=inquiry.beside,
        )
    return RowbackError(
        ErrorId.SCHEMA_DRIFT,
        "the schema changed since T, so the rows at T do not fit",
        *objections,
        state=UNTOUCHED,
        help=f"bring the columns back and: rowback resume {inquiry.case}; or rowback close {inquiry.case}, then a"
        " new plan with --except for those tables",
    )
