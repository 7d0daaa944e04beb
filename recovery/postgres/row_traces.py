"""What the rows that a table holds now tell of when they were written, and by which transaction. Reads only.

Rows that are gone tell nothing: this is for a bad UPDATE or INSERT that no log shows, and for a table that was emptied
and filled again. Of a large table a sample is read.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from recovery.model.values import TableName
from recovery.postgres.connect import Session
from recovery.postgres.incident_traces import commit_time_of
from recovery.postgres.table_names import KINDS, relations_named

WRITERS = """
select xmin::text::bigint, count(*), (sum(count(*)) over ())::bigint from {table} group by xmin::text
order by 2 desc, 1 desc limit 3
"""
OLDEST = """
select xmin::text::bigint, count(*), (sum(count(*)) over ())::bigint from {table} group by xmin::text, age(xmin)
order by age(xmin) desc limit 1
"""
# Columns in which applications write down when: PostgreSQL itself keeps no such time.
MARKS = """
select attname, case when base.oid = 'timestamptz'::regtype then 'Z' else '' end from pg_attribute a
cross join lateral (
  with recursive below as (
    select t.oid, t.typtype, t.typbasetype from pg_type t where t.oid = a.atttypid
    union all
    select t.oid, t.typtype, t.typbasetype from below join pg_type t on t.oid = below.typbasetype
    where below.typtype = 'd')
  select oid from below where typtype <> 'd') base
where attrelid = %s and attnum > 0 and not attisdropped and base.oid in ('timestamptz'::regtype, 'timestamp'::regtype)
  and attname ~* 'creat|insert|updat|modif|chang|delet|remov|archiv' order by attnum limit 4
"""
MARKED = """
select to_char(first, {form}) || case when first < '0001-01-01' then ' BC' else '' end,
  to_char(last, {form}) || case when last < '0001-01-01' then ' BC' else '' end, rows, alike,
  to_char(value, {form}) || case when value < '0001-01-01' then ' BC' else '' end from (
  select {column} as value, count(*) as alike, (sum(count(*)) over ())::bigint as rows,
    min({column}) over () as first, max({column}) over () as last
  from {table} where isfinite({column}) group by {column} order by 2 desc, 1 desc limit 1
) found
"""
TO_THE_MILLISECOND = 'YYYY-MM-DD"T"HH24:MI:SS.MS'
SAMPLE_BYTES = 256 * 2**20
ALIKE = 20  # where one row in so many says the same time, one statement wrote them


@dataclass(frozen=True)
class _TracedTable:
    oid: int
    name: TableName
    size_bytes: int

    def __str__(self) -> str:
        return str(self.name)

    @property
    def rows(self) -> sql.Composable:
        """What stands behind FROM."""
        whole = sql.SQL("only {}").format(sql.Identifier(*self.name.key))
        if self.size_bytes <= SAMPLE_BYTES:
            return whole
        return sql.SQL("{} tablesample system ({})").format(whole, sql.Literal(100 * SAMPLE_BYTES / self.size_bytes))

    @property
    def counted(self) -> str:
        """What the rows are called that were read."""
        return "rows" if self.size_bytes <= SAMPLE_BYTES else "sampled rows"


def row_traces(session: Session, table: str) -> list[str]:
    """In words: which transactions wrote most rows of `table`, and when the application says that was.

    `table`: as people write it. The application's words are columns such as created_at and updated_at. Of what is no
    ordinary table, that it is none.
    """
    named = relations_named(session, table)
    if not named:
        return [f"{table}: nothing in this database has that name now"]
    traces = []
    for relation in named:
        if relation.kind != "r":
            traces.append(f"{relation.name}: {KINDS[relation.kind]}, whose rows tell nothing; its tables' own may")
            continue
        size = session.execute("select pg_relation_size(%s)", (relation.oid,)).fetchone()
        plain_table = _TracedTable(relation.oid, relation.name, size[0] if size else 0)
        traces += [*_last_writers(session, plain_table), *_application_marks(session, plain_table)]
    return traces


@dataclass(frozen=True)
class OldestWriter:
    """The transaction that wrote the oldest versions in a table: how many of its `of` rows are its."""

    xid: int
    rows: int
    of: int


def oldest_writer(session: Session, table: str) -> OldestWriter | None:
    """The transaction that wrote the oldest row versions of a table.

    None where `table` does not name exactly one table, or where the table is empty.
    """
    relations = [relation for relation in relations_named(session, table) if relation.kind == "r"]
    if len(relations) != 1:
        return None
    size = session.execute("select pg_relation_size(%s)", (relations[0].oid,)).fetchone()
    plain_table = _TracedTable(relations[0].oid, relations[0].name, size[0] if size else 0)
    row = session.execute(sql.SQL(OLDEST).format(table=plain_table.rows)).fetchone()
    return OldestWriter(*row) if row else None


def _last_writers(session: Session, table: _TracedTable) -> list[str]:
    traces = []
    for xid, rows, of in session.execute(sql.SQL(WRITERS).format(table=table.rows)).fetchall():
        at = commit_time_of(session, xid)
        when = f", committed at {at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z" if at else ""
        traces.append(f"{table}: {rows:,} of {of:,} {table.counted} were last written by transaction {xid}{when}")
    return traces


def _application_marks(session: Session, table: _TracedTable) -> list[str]:
    traces = []
    for column, zone in session.execute(MARKS, (table.oid,)).fetchall():
        statement = sql.SQL(MARKED).format(
            column=sql.Identifier(column), table=table.rows, form=sql.Literal(TO_THE_MILLISECOND + zone)
        )
        for first, last, rows, alike, value in session.execute(statement).fetchall():
            name = sql.Identifier(column).as_string()
            text = f"{table}: {name} is {first} to {last} in {rows:,} {table.counted}"
            one_statement = alike > 1 and alike * ALIKE >= rows
            traces.append(text + (f"; {alike:,} of them say {value}" if one_statement else ""))
    return traces
