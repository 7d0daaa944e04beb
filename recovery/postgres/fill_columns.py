"""Give columns that were added their values: those of T, and what newcomers would have got. In an open transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from recovery.errors import ROLLED_BACK, ErrorId, RowbackError
from recovery.model.catalog import Sequence as Counter
from recovery.model.recovery_report import Fingerprint
from recovery.model.table_parts import ColumnPart
from recovery.model.values import TableName, counted
from recovery.postgres.connect import Session
from recovery.postgres.trusted_sql import trusted_sql
from recovery.postgres.value_stage import ValueStage


@dataclass
class GivenBack:
    """What was done. `rows`: table → rows that got their values; `written`: table → row versions that were written.

    `contents`: of each table in the end; `hanging`: what hangs on its columns then. `differing`: what could not be made
    as it was at T.
    """

    rows: dict[str, int] = field(default_factory=dict)
    written: dict[TableName, int] = field(default_factory=dict)
    contents: dict[str, Fingerprint] = field(default_factory=dict)
    hanging: dict[str, tuple[str, ...]] = field(default_factory=dict)
    differing: list[str] = field(default_factory=list)


def fill(original: Session, stage: ValueStage, done: GivenBack) -> None:
    """The values of T, to the rows that are the same. Raises verify-differs."""
    pairs = [(sql.Identifier(name), value) for name, value in stage.values]
    sets = sql.SQL(", ").join(sql.SQL("{} = s.{}").format(column, value) for column, value in pairs)
    wrong = sql.SQL(" or ").join(sql.SQL("t.{}::text is distinct from s.{}::text").format(*pair) for pair in pairs)
    query = sql.SQL("update {} t set {} from {} s where {} returning t.tableoid as of, {} as wrong").format(
        stage.target, sets, stage.relation, stage.same_row, wrong
    )
    rows = _written(original, query, done)
    done.rows[str(stage.lost.table)] = rows
    if unmatched := stage.content.rows - rows:
        how = "are not there under their key any more" if stage.lost.key else "were changed or deleted since"
        which = "deleted, or given another key" if stage.lost.key else "no key tells which"
        done.differing.append(
            f"{stage.lost.table}: {counted(unmatched, 'row')} of T {how} ({which}): their values of"
            f" {', '.join(column.name for column in stage.lost.stored)} are not back"
        )


def fill_newcomers(original: Session, stage: ValueStage, counters: Sequence[Counter], done: GivenBack) -> None:
    """Rows that T does not have get what is the default, or numbers that no sequence of T has given out."""
    tables = {stage.lost.at_target, *stage.lost.leaves}
    owned = {counter.column: counter for counter in counters if counter.table in tables and counter.integers}
    defaults = [column for column in stage.lost.stored if column.default is not None and column.name not in owned]
    if defaults:
        _fill_defaults(original, stage, defaults, done)
    for column in stage.lost.stored:
        if counter := owned.get(column.name):
            _number(original, stage, column, counter, done)


def _number(original: Session, stage: ValueStage, column: ColumnPart, counter: Counter, done: GivenBack) -> None:
    """From the last number of T on, or the last in use where that leaves room: a sentinel is none."""
    up, value = counter.increment > 0, dict(stage.values)[column.name]
    unused = counter.minimum - 1 if up else counter.maximum + 1
    start = counter.last_value if counter.last_value is not None else unused
    query = sql.SQL(
        "with last as (select coalesce({extreme}({value}), {start}) as value from {stage}"
        "  where {value} between {least} and {most}),"
        " new as (select t.tableoid as of, t.ctid as place, row_number() over () as n from {target} t"
        "  where not exists (select from {stage} s where {same}))"
        " update {target} t set {column} = {further}((select value from last), {start}) + new.n * {step} from new"
        " where t.tableoid = new.of and t.ctid = new.place returning t.tableoid as of, false as wrong"
    ).format(
        extreme=sql.SQL("max" if up else "min"),
        further=sql.SQL("greatest" if up else "least"),
        column=sql.Identifier(column.name),
        value=value,
        start=sql.Literal(start),
        least=sql.Literal(counter.minimum if up else counter.minimum // 2),
        most=sql.Literal(counter.maximum // 2 if up else counter.maximum),
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
    for schema, name, rows, wrong in _updated(original, counting):
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


def _updated(original: Session, query: sql.Composed) -> list[tuple[Any, ...]]:
    """Raises load-refused where the server refuses updates of a published table that has no replica identity."""
    try:
        return original.execute(query).fetchall()
    except psycopg.errors.ObjectNotInPrerequisiteState as error:
        raise RowbackError(
            ErrorId.LOAD_REFUSED,
            "the server refuses to update a table that is published",
            *str(error).splitlines(),
            state=ROLLED_BACK,
            help="alter table … replica identity full; then rowback resume CASE; afterwards replica identity default",
        ) from error
