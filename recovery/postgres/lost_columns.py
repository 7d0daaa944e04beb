"""Give tables that are there back what they lost: columns with their values, defaults, checks. In an open transaction.

The values were brought over before any table is locked. Rows that T does not have keep the default, or null.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from recovery.errors import ROLLED_BACK, ErrorId, RowbackError
from recovery.model.catalog import Catalog
from recovery.model.catalog import Sequence as Counter
from recovery.model.recovery_report import Fingerprint
from recovery.model.table_parts import CheckPart, ColumnPart, LostParts
from recovery.model.values import TableName, counted
from recovery.postgres import load_statements
from recovery.postgres.connect import Session
from recovery.postgres.trusted_sql import trusted_sql
from recovery.postgres.value_stage import ValueStage, column_definition, stage_values, values_at_target, values_now

_RULE_STATES = {"O": "enable rule", "R": "enable replica rule", "A": "enable always rule"}


@dataclass
class GivenBack:
    """What was done. `rows`: table → rows that got their values; `written`: table → row versions that were written.

    `contents`: of each table in the end. `differing`: what could not be made as it was at T.
    """

    rows: dict[str, int] = field(default_factory=dict)
    written: dict[TableName, int] = field(default_factory=dict)
    contents: dict[str, Fingerprint] = field(default_factory=dict)
    differing: list[str] = field(default_factory=list)


def stage_all(original: Session, copy: Session, parts: Sequence[LostParts]) -> list[ValueStage]:
    """The values of every table, proven to be the copy's. Raises verify-differs."""
    stages = [stage_values(original, copy, lost, n) for n, lost in enumerate(parts) if lost.stored]
    for stage in stages:
        if stage.content != values_at_target(copy, stage.lost):
            raise RowbackError(
                ErrorId.VERIFY_DIFFERS,
                f"the values of {stage.lost.table} that arrived are not those of T",
                state=ROLLED_BACK,
                help="report this as a bug; rowback resume CASE tries again",
            )
    return stages


def give_back_columns(
    original: Session,
    parts: Sequence[LostParts],
    stages: Sequence[ValueStage],
    counters: Sequence[Counter],
    now: Catalog,
) -> GivenBack:
    """Add the columns and fill them, on tables that are locked against readers as well.

    `counters`: sequences as they stood at T; `now`: the original's catalog.
    """
    done = GivenBack()
    for lost, column in _own_columns(parts):
        if not column.generated:
            _alter(original, lost.table, sql.SQL("add column {}").format(column_definition(column)))
    for stage in stages:
        with _undisturbed(original, now, stage.lost):  # newcomers first: a row that is written has another place
            _fill_newcomers(original, stage, counters, done)
            _fill(original, stage, done)
    for lost, column in _own_columns(parts):
        if column.generated:
            _add_generated(original, lost.table, column)
        elif column.identity:  # which what is made next relies on
            _set_not_null(original, lost.table, column)
    return done


def _own_columns(parts: Sequence[LostParts]) -> Iterator[tuple[LostParts, ColumnPart]]:
    """Those that no parent brings."""
    return ((lost, column) for lost in parts for column in lost.columns if not column.inherited)


def finish_parts(original: Session, parts: Sequence[LostParts], done: GivenBack) -> None:
    """Settings, defaults, NOT NULL and checks: what rows that were written since cannot hold is left."""
    for lost, column in _own_columns(parts):
        _finish_column(original, lost.table, column, done)
    for lost in parts:
        for column in lost.defaults:
            _set_default(original, lost.table, column)
        for check in lost.checks:
            _add_check(original, lost.table, check, done)
        if lost.stored:
            done.contents[str(lost.table)] = values_now(original, lost)


def drops_of(parts: Sequence[LostParts]) -> Iterator[sql.Composed]:
    """Statements that take it all back, none of them with CASCADE."""
    for lost in parts:
        gone = {column.number for column in lost.columns}
        alter = sql.SQL("alter table {} ").format(sql.Identifier(*lost.table.key))
        for check in lost.checks:
            if not set(check.columns) & gone:  # those go with their columns
                yield alter + sql.SQL("drop constraint {}").format(sql.Identifier(check.name))
        for column in lost.defaults:
            yield alter + sql.SQL("alter column {} drop default").format(sql.Identifier(column.name))
        for column in sorted(lost.columns, key=lambda each: not each.generated):
            if not column.inherited:
                yield alter + sql.SQL("drop column {}").format(sql.Identifier(column.name))


def _fill(original: Session, stage: ValueStage, done: GivenBack) -> None:
    pairs = [(sql.Identifier(name), value) for name, value in stage.values]
    sets = sql.SQL(", ").join(sql.SQL("{} = s.{}").format(column, value) for column, value in pairs)
    wrong = sql.SQL(" or ").join(sql.SQL("t.{}::text is distinct from s.{}::text").format(*pair) for pair in pairs)
    query = sql.SQL("update {} t set {} from {} s where {} returning t.tableoid as of, {} as wrong").format(
        stage.target, sets, stage.relation, stage.same_row, wrong
    )
    rows = _written(original, query, done)
    done.rows[str(stage.lost.table)] = rows
    if not stage.lost.key and (unknown := stage.content.rows - rows):
        done.differing.append(
            f"{stage.lost.table}: {counted(unknown, 'row')} of T were changed or deleted since, and no key tells which:"
            f" their values of {', '.join(column.name for column in stage.lost.stored)} are not back"
        )


def _fill_newcomers(original: Session, stage: ValueStage, counters: Sequence[Counter], done: GivenBack) -> None:
    """Rows that T does not have get numbers that no sequence of T has given out, or what is the default."""
    owned = {counter.column: counter for counter in counters if counter.table == stage.lost.at_target}
    defaults = []
    for column in stage.lost.stored:
        counter = owned.get(column.name)
        if counter and counter.integers:
            _number(original, stage, column, counter, done)
        elif column.default is not None:
            defaults.append(column)
    if defaults:
        _fill_defaults(original, stage, defaults, done)


def _number(original: Session, stage: ValueStage, column: ColumnPart, counter: Counter, done: GivenBack) -> None:
    query = sql.SQL(
        "with last as (select coalesce({extreme}({value}), {start}) as value from {stage}),"
        " new as (select t.tableoid as of, t.ctid as place, row_number() over () as n from {target} t"
        "  where not exists (select from {stage} s where {same}))"
        " update {target} t set {column} = {further}((select value from last), {start}) + new.n * {step} from new"
        " where t.tableoid = new.of and t.ctid = new.place returning t.tableoid as of, false as wrong"
    ).format(
        extreme=sql.SQL("max" if counter.increment > 0 else "min"),
        further=sql.SQL("greatest" if counter.increment > 0 else "least"),
        column=sql.Identifier(column.name),
        value=dict(stage.values)[column.name],
        start=sql.Literal(counter.last_value if counter.last_value is not None else 0),
        target=stage.target,
        stage=stage.relation,
        same=stage.same_row,
        step=sql.Literal(counter.increment),
    )
    _written(original, query, done)


def _fill_defaults(original: Session, stage: ValueStage, defaults: Sequence[ColumnPart], done: GivenBack) -> None:
    sets = sql.SQL(", ").join(
        sql.SQL("{} = {}").format(sql.Identifier(column.name), trusted_sql(column.default or "")) for column in defaults
    )
    query = sql.SQL(
        "update {} t set {} where not exists (select from {} s where {}) returning t.tableoid as of, false as wrong"
    ).format(stage.target, sets, stage.relation, stage.same_row)
    _written(original, query, done)


def _written(original: Session, query: sql.Composable, done: GivenBack) -> int:
    """Run an UPDATE that returns `of` and `wrong`; how many rows it wrote, booked for each table that holds them.

    Raises verify-differs where a row does not hold afterwards what it was to get.
    """
    counting = sql.SQL(
        "with written as ({}) select nspname, relname, count(*), count(*) filter (where wrong) from written"
        " join pg_class c on c.oid = of join pg_namespace n on n.oid = relnamespace group by 1, 2"
    ).format(query)
    total = 0
    for schema, name, rows, wrong in original.execute(counting).fetchall():
        table = TableName(schema_name=schema, name=name)
        if wrong:
            raise RowbackError(
                ErrorId.VERIFY_DIFFERS,
                f"{table}: {counted(wrong, 'row')} did not take the values of T",
                state=ROLLED_BACK,
                help="find what changes them as they are written, and disable it for the load",
            )
        done.written[table] = done.written.get(table, 0) + rows
        total += rows
    return total


def _finish_column(original: Session, table: TableName, column: ColumnPart, done: GivenBack) -> None:
    for setting in column.settings:
        _alter(original, table, sql.SQL("alter column {} {}").format(sql.Identifier(column.name), trusted_sql(setting)))
    if column.default is not None and not column.generated:
        _set_default(original, table, column)
    if column.not_null and not column.identity:
        try:
            with original.transaction():
                _set_not_null(original, table, column)
        except psycopg.errors.NotNullViolation:
            done.differing.append(may_hold_null(table, column))


def may_hold_null(table: TableName, column: ColumnPart) -> str:
    """What is said of a column that cannot be NOT NULL again."""
    return f"{table}: column {column.name} may hold null, which it could not at T: rows written since have no value"


def is_not_valid(table: TableName, check: CheckPart) -> str:
    """What is said of a check that does not hold for all rows any more."""
    return f"{table}: check {check.name} is NOT VALID: rows that are there now violate it"


def _add_generated(original: Session, table: TableName, column: ColumnPart) -> None:
    kind = sql.SQL("stored" if column.generated == "s" else "virtual")
    adding = sql.SQL("add column {} generated always as ({}) {}").format(
        column_definition(column), trusted_sql(column.default or ""), kind
    )
    _alter(original, table, adding)


def _set_default(original: Session, table: TableName, column: ColumnPart) -> None:
    default = trusted_sql(column.default or "null")
    _alter(original, table, sql.SQL("alter column {} set default {}").format(sql.Identifier(column.name), default))


def _set_not_null(original: Session, table: TableName, column: ColumnPart) -> None:
    if column.not_null_name is None:
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
        done.differing.append(is_not_valid(table, check))


@contextmanager
def _undisturbed(original: Session, now: Catalog, lost: LostParts) -> Iterator[None]:
    """No trigger and no rule acts on what is written: at T they have acted already."""
    tables = [table for leaf in lost.leaves if (table := now.table(leaf))]
    triggers = [trigger for table in tables for trigger in table.triggers]
    rules = [(table.name, rule) for table in tables for rule in table.rules if rule.state != "D"]
    load_statements.hold_triggers(original, triggers)
    for name, rule in rules:
        _alter(original, name, sql.SQL("disable rule {}").format(sql.Identifier(rule.name)))
    yield
    for name, rule in rules:
        how = trusted_sql(_RULE_STATES[rule.state])
        _alter(original, name, sql.SQL("{} {}").format(how, sql.Identifier(rule.name)))
    load_statements.release_triggers(original, triggers)


def _alter(original: Session, table: TableName, how: sql.Composable) -> None:
    original.execute(sql.SQL("/* rowback */ alter table {} {}").format(sql.Identifier(*table.key), how))
