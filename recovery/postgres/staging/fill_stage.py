"""Fill a stage: its table is created, rows are copied in, and columns that no value is given for are completed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import NamedTuple

from psycopg import sql

from recovery.model.catalog import Table
from recovery.postgres.comparison.oversized_values import STAND_IN, oversized_bytes
from recovery.postgres.comparison.table_scan import Field
from recovery.postgres.connect import Session, one
from recovery.postgres.copy_line import NULL, line_of, values_of
from recovery.postgres.isolate_bad_rows import try_rows
from recovery.postgres.staging.stage import Stage
from recovery.postgres.staging.stage_query import PUTS, StagedOp
from recovery.postgres.trusted_sql import trusted_sql

BATCH = 5_000
LINES_AT_ONCE = 200  # of one message: rows may be large
JOINED_COLUMNS = 500  # of each of two tables, of 1,664 that a join may have
SMALL = 500  # rows up to which indexes and statistics of a stage cost more, in time and in locks, than they save

# Generated columns stay generated, because rules may be over them; defaults stand for columns that T had not.
_DEFINITION = """
select string_agg(format('%%I %%s%%s%%s', a.attname, format_type(b.oid, b.modifier),
    coalesce((select format(' collate %%I.%%I', n.nspname, c.collname) from pg_collation c
              join pg_namespace n on n.oid = c.collnamespace where c.oid = a.attcollation and c.collname <>
              'default'), ''),
    case when d.adbin is null then ''
         when a.attgenerated = '' then ' default ' || pg_get_expr(d.adbin, d.adrelid)
         else format(' generated always as (%%s) stored', pg_get_expr(d.adbin, d.adrelid)) end), ', ' order by a.attnum)
from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
cross join lateral (
  with recursive below as (
    select t.oid, t.typtype, t.typbasetype, t.typtypmod, a.atttypmod as modifier, 0 as depth
    from pg_type t where t.oid = a.atttypid
    union all
    select t.oid, t.typtype, t.typbasetype, t.typtypmod, below.typtypmod, depth + 1
    from below join pg_type t on t.oid = below.typbasetype where below.typtype = 'd')
  select oid, modifier from below order by depth desc limit 1) b
where a.attrelid = %s and a.attnum > 0 and not a.attisdropped
"""


class Staged(NamedTuple):
    """One row on its way into a stage.

    `xmin`: the transaction that wrote the version of it that was compared, or that put it there earlier. `line`: its
    values as COPY writes them. `nth`: of a lost row without a key, which one of its equals it was at T, counted from 0.
    """

    n: int
    op: StagedOp
    xmin: int | None
    line: str
    nth: int | None = None


def create_stage(session: Session, table: Table, columns_given: Sequence[str], no: int) -> Stage:
    """The empty stage: the table's columns without its constraints; it goes with the transaction."""
    stage = Stage(session, table, columns_given, no)
    columns = one(stage.session, _DEFINITION, (stage.table.oid,))
    stage.run(
        "create temporary table {name} ({columns} {n} bigint not null, {op} text not null, {xmin} xid,"
        " {nth} bigint, {skip} text, {early} boolean not null default false) on commit drop",
        name=sql.Identifier(stage.relation),
        columns=trusted_sql(f"{columns}," if columns else ""),
    )
    return stage


def fill_stage(stage: Stage, rows: Iterable[Staged]) -> None:
    """COPY the rows in. One that not even the stage can take is kept by its key alone, to be skipped."""
    rows = iter(rows)
    while batch := list(islice(rows, BATCH)):
        stage.ops.update(row.op for row in batch)
        stage.oversized += [cell for row in batch if STAND_IN in row.line for cell in _oversized(stage, row)]
        try_rows(stage.session, batch, partial(_copy, stage), partial(_keep_keys, stage))
    if stage.ops.total() > SMALL:
        _index(stage)


def _index(stage: Stage) -> None:
    stage.run("create unique index on {name} ({n})")
    if stage.table.key:
        keys = sql.SQL(", ").join(map(sql.Identifier, stage.table.key))
        stage.run("create index on {name} ({keys})", keys=keys)
    # a sample of 3,000 rows says how many there are and that keys are distinct
    stage.session.execute("set local default_statistics_target = 10")
    stage.run("analyze {name}")
    stage.session.execute("set local default_statistics_target to default")


def _oversized(stage: Stage, row: Staged) -> list[tuple[int, str]]:
    """(row, column) of the values that the row has only stand-ins for."""
    if row.op not in PUTS:
        return []
    cells = zip(stage.fields, values_of(row.line), strict=True)
    return [(row.n, field.name) for field, value in cells if oversized_bytes(value)]


def _copy(stage: Stage, rows: Sequence[Staged]) -> None:
    """Lines go in as they came; those of a table with generated columns without the values of these."""
    places = [i for i, field in enumerate(stage.fields) if not field.column.generated]
    names = [stage.n, stage.op, stage.xmin, stage.nth, *(sql.Identifier(stage.fields[i].name) for i in places)]
    whole = 0 < len(places) == len(stage.fields)
    _copy_lines(
        stage,
        names,
        (
            f"{row.n}\t{row.op}\t{_text(row.xmin)}\t{_text(row.nth)}\t{row.line}\n"
            if whole
            else _line(row, (_text(row.nth),), places)
            for row in rows
        ),
    )


def _copy_lines(stage: Stage, names: Sequence[sql.Composable], texts: Iterable[str]) -> None:
    into = stage.sql("copy {name} ({columns}) from stdin", columns=sql.SQL(", ").join(names))
    with stage.session.cursor() as cursor, cursor.copy(into) as copy:
        texts = iter(texts)
        while block := "".join(islice(texts, LINES_AT_ONCE)):
            copy.write(block)


def _line(row: Staged, own: Sequence[str], places: Sequence[int]) -> str:
    """The row's line with some of its values behind our own columns."""
    values = values_of(row.line)
    lines = [line_of([values[i]]) for i in places]
    return "\t".join([str(row.n), row.op, _text(row.xmin), *own, *lines]) + "\n"


def _keep_keys(stage: Stage, rows: Sequence[Staged], words: str) -> None:
    """Children of such a row must be known to lose their parent, so its key is staged where it can be."""
    stage.marks += len(rows)
    keys = [i for i, field in enumerate(stage.fields) if field.name in stage.table.key]

    def insert(part: Sequence[Staged], places: Sequence[int]) -> None:
        named = (sql.Identifier(stage.fields[i].name) for i in places)
        names = [stage.n, stage.op, stage.xmin, stage.skip, *named]
        _copy_lines(stage, names, (_line(row, (line_of([words]),), places) for row in part))

    try_rows(stage.session, rows, lambda part: insert(part, keys), lambda part, _: insert(part, []))


def complete_stage(stage: Stage) -> None:
    """Columns that no value is given for keep, in updates, what the live row has: checks must see that.

    Learn which columns the updates change at all: the others are not written, so what is wrong in them stands in no
    way.
    """
    if not stage.table.key or not stage.ops[StagedOp.UPDATE]:
        return
    absent = [c for c in stage.table.columns if c.name not in stage.columns and not c.generated]
    if absent:
        assignments = sql.SQL(", ").join(sql.SQL("{0} = t.{0}").format(sql.Identifier(c.name)) for c in absent)
        stage.run("update {name} s set {taken} from {original} t where s.{op} = {update} and {same}", taken=assignments)
    written = [field for field in stage.fields if not field.column.generated]
    parts = (written[start : start + JOINED_COLUMNS] for start in range(0, len(written), JOINED_COLUMNS))
    stage.changing = frozenset(name for part in parts for name in _changing(stage, part))


def _changing(stage: Stage, fields: Sequence[Field]) -> Iterator[str]:
    """Those of the columns in which any update differs from its live row."""
    differ = (sql.SQL("coalesce(bool_or({}), false)").format(stage.differs(field, "t", "s")) for field in fields)
    row = stage.session.execute(
        stage.sql(
            "select {differ} from {name} s join {original} t on {same} where s.{op} = {update} and s.{skip} is null",
            differ=sql.SQL(", ").join(differ),
        )
    ).fetchone()
    assert row
    return (field.name for field, differs in zip(fields, row, strict=True) if differs)


def _text(number: int | None) -> str:
    return NULL if number is None else str(number)
