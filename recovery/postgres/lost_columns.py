"""Give tables that are there back what they lost: columns with their values, defaults, checks. In an open transaction.

The values were brought over before any table is locked. Rows that T does not have keep the default, or null.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg
from psycopg import sql

from recovery.errors import ROLLED_BACK, ErrorId, RowbackError
from recovery.model.catalog import Sequence as Counter
from recovery.model.table_parts import CheckPart, ColumnPart, Filling, LostParts
from recovery.model.values import TableName
from recovery.postgres import load_statements
from recovery.postgres.connect import Session
from recovery.postgres.fill_columns import GivenBack, fill, fill_newcomers
from recovery.postgres.read_table_parts import file_node, hanging_on
from recovery.postgres.trusted_sql import trusted_sql
from recovery.postgres.undisturbed import undisturbed
from recovery.postgres.value_stage import ValueStage, column_definition, stage_values, values_at_target, values_now


def stage_all(original: Session, copy: Session, parts: Sequence[LostParts]) -> list[ValueStage]:
    """The values of every table, proven to be the copy's. Raises verify-differs."""
    filled = [lost for lost in parts if lost.is_staged or (lost.stored and lost.filling is Filling.AS_NEW)]
    stages = [stage_values(original, copy, lost, n) for n, lost in enumerate(filled)]
    for stage in stages:
        if stage.lost.is_staged and stage.content != values_at_target(copy, stage.lost):
            raise RowbackError(
                ErrorId.VERIFY_DIFFERS,
                f"the values of {stage.lost.table} that arrived are not those of T",
                state=ROLLED_BACK,
                help="report this as a bug; rowback resume CASE tries again",
            )
    return stages


def refuse_rewritten(original: Session, parts: Sequence[LostParts]) -> None:
    """Once they are locked: rows that are recognized by their place need the very file. Raises plan-facts-changed."""
    for lost in parts:
        if lost.is_staged and lost.filling is Filling.BY_PLACE and file_node(original, lost.oid) != lost.file_node:
            raise RowbackError(
                ErrorId.PLAN_FACTS_CHANGED,
                f"{lost.table} was rewritten since the plan was made (CLUSTER, VACUUM FULL, ALTER TABLE), and it has no"
                " key: nothing tells any more which row is which",
                state=ROLLED_BACK,
                help="rowback close CASE, then see its rows at T with --mode beside",
            )


def give_back_columns(
    original: Session, parts: Sequence[LostParts], stages: Sequence[ValueStage], counters: Sequence[Counter]
) -> GivenBack:
    """Add the columns and fill them, on tables that are locked against readers as well.

    `counters`: sequences that are made anew, as they stood at T.
    """
    done = GivenBack()
    load_statements.use_search_path_of_role(original)
    for lost, column in _own_columns(parts):
        if not column.generated:
            _alter(original, lost.table, sql.SQL("add column {}").format(column_definition(column)))
    for stage in stages:
        with undisturbed(original, stage.lost):  # newcomers first: a row that is written has another place
            fill_newcomers(original, stage, counters, done)
            if stage.lost.is_staged:
                fill(original, stage, done)
                done.contents[str(stage.lost.table)] = values_now(original, stage.lost)
    for lost, column in _own_columns(parts):
        _complete_column(original, lost.table, column, done)
    load_statements.pin_search_path(original)
    return done


def _complete_column(original: Session, table: TableName, column: ColumnPart, done: GivenBack) -> None:
    """What is made next relies on it: generated columns, domains, and that identities are never null."""
    if column.generated:
        _add_generated(original, table, column, done)
    elif column.base_type != column.type_name:
        _give_domain(original, table, column, done)
    if column.identity:
        _set_not_null(original, table, column)


def _own_columns(parts: Sequence[LostParts]) -> Iterator[tuple[LostParts, ColumnPart]]:
    """Those that no parent brings."""
    return ((lost, column) for lost in parts for column in lost.columns if not column.inherited)


def finish_parts(original: Session, parts: Sequence[LostParts], done: GivenBack) -> None:
    """Settings, defaults, NOT NULL and checks: what rows that were written since cannot hold is left."""
    load_statements.use_search_path_of_role(original)
    for lost in parts:  # what a partition has for itself comes after what its parents give it
        for column in lost.columns:
            _finish_column(original, lost.table, column, done)
        for column in lost.defaults:
            _set_default(original, lost.table, column, done)
        for check in lost.checks:
            _add_check(original, lost.table, check, done)
    load_statements.pin_search_path(original)


def note_hanging(original: Session, parts: Sequence[LostParts], done: GivenBack) -> None:
    """In the end: what goes along when the columns are dropped again, so that an undo sees what came since."""
    for lost in parts:
        if lost.columns:
            done.hanging[str(lost.table)] = hanging_on(original, lost.table, [column.name for column in lost.columns])


def drops_of(parts: Sequence[LostParts]) -> Iterator[sql.Composed]:
    """Statements that take it all back, none of them with CASCADE; of what the load left there is nothing."""
    for lost in parts:
        gone = {column.number for column in lost.columns}
        alter = sql.SQL("alter table {} ").format(sql.Identifier(*lost.table.key))
        for check in lost.checks:
            if not set(check.columns) & gone:  # those go with their columns
                yield alter + sql.SQL("drop constraint if exists {}").format(sql.Identifier(check.name))
        for column in lost.defaults:
            yield alter + sql.SQL("alter column {} drop default").format(sql.Identifier(column.name))
        for column in sorted(lost.columns, key=lambda each: not each.generated):
            if not column.inherited:
                yield alter + sql.SQL("drop column if exists {}").format(sql.Identifier(column.name))


def _finish_column(original: Session, table: TableName, column: ColumnPart, done: GivenBack) -> None:
    for setting in column.settings if not column.inherited else ():
        _alter(original, table, sql.SQL("alter column {} {}").format(sql.Identifier(column.name), trusted_sql(setting)))
    if not column.generated and not column.identity and (column.default is not None or column.inherited):
        _set_default(original, table, column, done)
    if column.not_null and not column.identity:
        with _or_left(original, done, f"{table}: {label(column)} may hold null, which it could not at T"):
            _set_not_null(original, table, column)


def label(part: ColumnPart | CheckPart) -> str:
    """How what is left of it begins, behind the table's name."""
    return f"column {part.name}" if isinstance(part, ColumnPart) else f"check {part.name}"


@contextmanager
def _or_left(original: Session, done: GivenBack, text: str) -> Iterator[None]:
    """What the server refuses of a single part is left and said: the rest comes back all the same."""
    try:
        with original.transaction():
            yield
    except (psycopg.errors.IntegrityError, psycopg.errors.ProgrammingError, psycopg.errors.DataError) as error:
        done.differing.append(f"{text}: {str(error).splitlines()[0]}")


def _add_generated(original: Session, table: TableName, column: ColumnPart, done: GivenBack) -> None:
    kind = sql.SQL("stored" if column.generated == "s" else "virtual")
    adding = sql.SQL("add column {} generated always as ({}) {}").format(
        column_definition(column), trusted_sql(column.default or ""), kind
    )
    with _or_left(original, done, f"{table}: {label(column)} could not be made again"):
        _alter(original, table, adding)


def _give_domain(original: Session, table: TableName, column: ColumnPart, done: GivenBack) -> None:
    """Once its rows have values: an empty column of a domain that is NOT NULL cannot be added."""
    with _or_left(original, done, f"{table}: {label(column)} is {column.base_type}, not {column.type_name}"):
        domain = sql.SQL("alter column {} type {}").format(sql.Identifier(column.name), trusted_sql(column.type_name))
        _alter(original, table, domain)


def _set_default(original: Session, table: TableName, column: ColumnPart, done: GivenBack) -> None:
    default = sql.SQL("alter column {} set default {}").format(
        sql.Identifier(column.name), trusted_sql(column.default or "null")
    )
    with _or_left(original, done, f"{table}: {label(column)} has no default again"):
        _alter(original, table, default)


def _set_not_null(original: Session, table: TableName, column: ColumnPart) -> None:
    if column.not_null_name is None or column.inherited:
        _alter(original, table, sql.SQL("alter column {} set not null").format(sql.Identifier(column.name)))
        return
    names = sql.Identifier(column.not_null_name), sql.Identifier(column.name)
    _alter(original, table, sql.SQL("add constraint {} not null {}").format(*names))


def _add_check(original: Session, table: TableName, check: CheckPart, done: GivenBack) -> None:
    adding = sql.SQL("add constraint {} {}").format(sql.Identifier(check.name), trusted_sql(check.definition))
    try:
        with original.transaction():
            _alter(original, table, adding)
    except psycopg.errors.CheckViolation:
        _alter(original, table, adding + sql.SQL(" not valid"))
        done.differing.append(f"{table}: {label(check)} is NOT VALID: rows that are there now violate it")
    except (psycopg.errors.ProgrammingError, psycopg.errors.DataError) as error:
        done.differing.append(f"{table}: {label(check)} could not be made again: {str(error).splitlines()[0]}")


def _alter(original: Session, table: TableName, how: sql.Composable) -> None:
    original.execute(sql.SQL("/* rowback */ alter table {} {}").format(sql.Identifier(*table.key), how))
