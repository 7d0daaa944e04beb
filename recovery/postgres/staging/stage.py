"""Planned rows in a temporary table beside the table they are for, with the types below the original's domains.

Everything that can be said about a planned row before it is written is said here, by the server: its live row changed,
a key is taken, a check fails, its parent is missing, another row still references it. Rows so marked are skipped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice

from psycopg import Cursor, sql

from recovery.model.catalog import ForeignKey, Table
from recovery.model.repair_plan import ImagesDigest
from recovery.postgres.comparison.oversized_values import oversized_bytes
from recovery.postgres.comparison.table_scan import Field, Values
from recovery.postgres.connect import Session, one
from recovery.postgres.isolate_bad_rows import try_rows
from recovery.postgres.trusted_sql import trusted_sql

BATCH = 5_000
SMALL = 500  # rows up to which indexes and statistics of a stage cost more, in time and in locks, than they save
OWN_COLUMNS = 6
MOST_COLUMNS = 1_600  # of a table in PostgreSQL (MaxHeapAttributeNumber)

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


@dataclass(frozen=True)
class Staged:
    """One row on its way into a stage.

    `op`: i, u, d; k for a row that stays and is only looked at; p for one that an earlier batch put there, as
    transaction `xmin`. `nth`: of a lost row without a key, which one of its equals it was at T, counted from 0.
    """

    n: int
    op: str
    xmin: int | None
    values: Values
    nth: int | None = None


def stageable(table: Table) -> bool:
    """Whether there is room for our own columns beside the table's."""
    return len(table.columns) + OWN_COLUMNS <= MOST_COLUMNS


class Stage:
    """A temporary table for the planned rows of `table`; `columns` are those that values are given for."""

    def __init__(self, session: Session, table: Table, columns: Sequence[str], no: int) -> None:
        self.session, self.table, self.columns, self.no = session, table, tuple(columns), no
        by_name = {column.name: column for column in table.columns}
        self.fields = tuple(Field(name, by_name[name]) for name in columns)
        self._equality = {name: column.equality for name, column in by_name.items()}
        prefix = "rowback_"
        while any(name.startswith(prefix) for name in by_name):
            prefix = f"_{prefix}"
        self.n, self.op, self.xmin, self.nth, self.skip, self.early = (
            sql.Identifier(prefix + name) for name in ("n", "op", "xmin", "nth", "skip", "early")
        )
        self._bare = f"rowback_stage_{no}"
        self.name = sql.Identifier("pg_temp", self._bare)
        self.images: sql.Identifier = sql.Identifier(self._bare)
        self.kept = ImagesDigest()
        self.ops: Counter[str] = Counter()  # rows by operation; those that only stand in the way of others as well
        self.marks = 0
        self.changing: frozenset[str] = frozenset()
        self.lifted: frozenset[str] = frozenset()  # names of NOT VALID constraints that are away meanwhile
        self.oversized: list[tuple[int, str]] = []
        self.original = sql.SQL("only {}").format(sql.Identifier(*table.name.key))

    def create(self) -> None:
        """The empty stage: the table's columns without its constraints; it goes with the transaction."""
        columns = one(self.session, _DEFINITION, (self.table.oid,))
        self.run(
            "create temporary table {name} ({columns} {n} bigint not null, {op} text not null, {xmin} xid,"
            " {nth} bigint, {skip} text, {early} boolean not null default false) on commit drop",
            name=sql.Identifier(self._bare),
            columns=trusted_sql(f"{columns}," if columns else ""),
        )

    def fill(self, rows: Iterable[Staged]) -> None:
        """COPY the rows in. One that not even the stage can take is kept by its key alone, to be skipped."""
        rows = iter(rows)
        while batch := list(islice(rows, BATCH)):
            self.ops.update(row.op for row in batch)
            self.oversized += [
                (row.n, field.name)
                for row in batch
                for field, value in zip(self.fields, row.values, strict=True)
                if row.op in "iu" and oversized_bytes(value)
            ]
            try_rows(self.session, batch, self._copy, self._keep_keys)
        if self.ops.total() > SMALL:
            self._index()

    def _index(self) -> None:
        self.run("create unique index on {name} ({n})")
        if self.table.key:
            keys = sql.SQL(", ").join(map(sql.Identifier, self.table.key))
            self.run("create index on {name} ({keys})", keys=keys)
        self.run("analyze {name}")

    @property
    def writes(self) -> bool:
        """Whether anything is planned for the table itself."""
        return any(self.ops[op] for op in "iud")

    def _copy(self, rows: Sequence[Staged]) -> None:
        written_fields = [(i, field) for i, field in enumerate(self.fields) if not field.column.generated]
        into = self.sql(
            "copy {name} ({columns}) from stdin",
            columns=sql.SQL(", ").join(
                [self.n, self.op, self.xmin, self.nth, *(sql.Identifier(f.name) for _, f in written_fields)]
            ),
        )
        with self.session.cursor() as cursor, cursor.copy(into) as copy:
            for row in rows:
                own = (str(row.n), row.op, _text(row.xmin), _text(row.nth))
                copy.write_row((*own, *(row.values[i] for i, _ in written_fields)))

    def _keep_keys(self, rows: Sequence[Staged], words: str) -> None:
        """Children of such a row must be known to lose their parent, so its key is staged where it can be."""
        self.marks += len(rows)
        keys = [(i, field) for i, field in enumerate(self.fields) if field.name in self.table.key]

        def insert(part: Sequence[Staged], named: Sequence[tuple[int, Field]]) -> None:
            names = [self.n, self.op, self.xmin, self.skip, *(sql.Identifier(field.name) for _, field in named)]
            into = self.sql("copy {name} ({columns}) from stdin", columns=sql.SQL(", ").join(names))
            with self.session.cursor() as cursor, cursor.copy(into) as copy:
                for row in part:
                    copy.write_row((str(row.n), row.op, _text(row.xmin), words, *(row.values[i] for i, _ in named)))

        try_rows(self.session, rows, lambda part: insert(part, keys), lambda part, _: insert(part, []))

    def complete(self) -> None:
        """Columns that no value is given for keep, in updates, what the live row has: checks must see that.

        Learn which columns the updates change at all: the others are not written, so what is wrong in them stands in no
        way.
        """
        if not self.table.key or not self.ops["u"]:
            return
        absent = [c for c in self.table.columns if c.name not in self.columns and not c.generated]
        if absent:
            assignments = sql.SQL(", ").join(sql.SQL("{0} = t.{0}").format(sql.Identifier(c.name)) for c in absent)
            self.run("update {name} s set {taken} from {original} t where s.{op} = 'u' and {same}", taken=assignments)
        written = [field for field in self.fields if not field.column.generated]
        differ = (
            sql.SQL("coalesce(bool_or({}), false)").format(self.differs(field.name, "t", "s")) for field in written
        )
        row = self.session.execute(
            self.sql(
                "select {differ} from {name} s join {original} t on {same} where s.{op} = 'u' and s.{skip} is null",
                differ=sql.SQL(", ").join([*differ, sql.SQL("true")]),
            )
        ).fetchone()
        assert row
        self.changing = frozenset(f.name for f, differs in zip(written, row, strict=False) if differs)

    def skipped(self) -> Iterator[tuple[int, str]]:
        """(n, reason) of every row that will not be written."""
        if not self.marks:
            return
        yield from self.session.execute(
            self.sql("select {n}, {skip} from {name} where {skip} is not null and {op} in ('i', 'u', 'd') order by 1")
        )

    def numbers(self, condition: sql.Composable) -> list[int]:
        """The rows still to be written for which a condition holds, in their order."""
        rows = self.session.execute(
            self.sql("select {n} from {name} s where {skip} is null and {which} order by {n}", which=condition)
        )
        return [row[0] for row in rows]

    def set_aside(self, numbers: Sequence[int], words: str) -> None:
        """Skip some rows, for a reason."""
        self.mark(
            "update {name} set {skip} = {why} where {n} = any({numbers})",
            why=sql.Literal(words),
            numbers=sql.Literal(list(numbers)),
        )

    def reopen(self, numbers: Sequence[int]) -> None:
        """Rows that were set aside are to be written after all."""
        self.run("update {name} s set {skip} = null where {which}", which=self.among(numbers))

    def among(self, numbers: Sequence[int]) -> sql.Composable:
        """Whether a staged row is one of these."""
        return self.sql("s.{n} = any({numbers})", numbers=sql.Literal(list(numbers)))

    def leaving(self, row: str = "t", *, ops: str = "'u', 'd'") -> sql.Composable:
        """Whether the live row with the alias `row` is about to be updated or deleted; without a key, by its values."""
        if not self.table.key:
            return self.sql(
                "{there} || {row}.xmin::text in (select {planned} || o.{xmin}::text from {name} o"
                " where o.{op} in ({ops}) and o.{skip} is null)",
                there=self.row_text(row),
                row=sql.Identifier(row),
                planned=self.row_text("o"),
                ops=trusted_sql(ops),
            )
        return self.sql(
            "exists (select from {name} o where o.{op} in ({ops}) and o.{skip} is null and {same})",
            ops=trusted_sql(ops),
            same=self.same(row, "o"),
        )

    def moved(self, row: str) -> sql.Composable:
        """Whether the live row with the alias `row` is updated before anything is deleted."""
        return self.sql(
            "exists (select from {name} o where o.{op} = 'u' and o.{early} and o.{skip} is null and {same})",
            same=self.same(row, "o"),
        )

    def same(self, left: str, right: str) -> sql.Composable:
        """Whether two aliases are the same row, by the key's own operators."""
        return sql.SQL(" and ").join(
            sql.SQL("{} operator({}.{}) {}").format(
                sql.Identifier(left, name),
                sql.Identifier(self._equality[name][0]),
                trusted_sql(self._equality[name][1]),
                sql.Identifier(right, name),
            )
            for name in self.table.key
        )

    def had_parent(self, key: ForeignKey, parents: Sequence[Stage]) -> sql.Composable:
        """Whether the parent of the staged row `s` was there at T: one that is gone is staged, to be written or not."""
        staged = (
            parent.sql("exists (select from {name} o where {equal})", equal=refers(key, "s", "o")) for parent in parents
        )
        return sql.SQL("({})").format(sql.SQL(" or ").join([*staged, sql.SQL("false")]))

    def differs(self, column: str, left: str, right: str) -> sql.Composable:
        """Whether two aliases print differently in a column: equality by operator may hide 1.0 and 1.00."""
        return sql.SQL("{}::text is distinct from {}::text").format(
            sql.Identifier(left, column), sql.Identifier(right, column)
        )

    def row_text(self, row: str, columns: Sequence[str] = ()) -> sql.Composable:
        """All compared values of the row with the alias `row`, or those of some `columns`, as one text."""
        texts = (sql.SQL("{}::text").format(sql.Identifier(row, name)) for name in columns or self.columns)
        return sql.SQL("row({})::text").format(sql.SQL(", ").join(texts))

    def equal_rows(self) -> sql.Composable:
        """Without a key: the same values, written by the same transaction.

        As one text, so that the server can hash it: all rows of a load have one xmin.
        """
        return self.sql(
            "{there} = {planned} and t.xmin = s.{xmin}", there=self.row_text("t"), planned=self.row_text("s")
        )

    def count(self, op: str) -> int:
        """Rows of one operation that will be written."""
        return int(
            one(
                self.session,
                self.sql(
                    "select count(*) from {name} where {op} = {wanted} and {skip} is null", wanted=sql.Literal(op)
                ),
            )
        )

    def mark(self, text: str, **parts: sql.Composable) -> int:
        """Execute a template of `sql` that marks rows to be skipped; how many."""
        marked = self.run(text, **parts)
        self.marks += marked
        return marked

    def run(self, text: str, **parts: sql.Composable) -> int:
        """Execute a template of `sql`; how many rows it touched."""
        return self.session.execute(self.sql(text, **parts)).rowcount

    def sql(self, text: str, **parts: sql.Composable) -> sql.Composed:
        """Our own text, filled in: {name} (the stage), {original}, its own columns, {same}, `parts`."""
        standard_parts = {
            "name": self.name,
            "original": self.original,
            "table": sql.Identifier(*self.table.name.key),
            "n": self.n,
            "op": self.op,
            "xmin": self.xmin,
            "nth": self.nth,
            "skip": self.skip,
            "early": self.early,
            "same": self.same("t", "s"),
        }
        return trusted_sql(text).format(**{**standard_parts, **parts})


def mark_at_once(markings: Iterable[tuple[Stage, sql.Composed]]) -> int:
    """Execute statements that mark rows to be skipped, one after the other but without waiting for each answer.

    A round trip for each of thousands of tables would be spent under the lock. Returns how many rows they marked.
    """
    sent: list[tuple[Stage, Cursor[tuple[object, ...]]]] = []
    with ExitStack() as opened:
        for stage, text in markings:
            if not sent:
                opened.enter_context(stage.session.pipeline())
            sent.append((stage, stage.session.execute(text)))
    for stage, cursor in sent:
        stage.marks += cursor.rowcount
    return sum(cursor.rowcount for _, cursor in sent)


def refers(key: ForeignKey, child: str, parent: str) -> sql.Composable:
    """The reference between two aliases, by the constraint's own operators (parent on the left)."""
    return sql.SQL(" and ").join(
        sql.SQL("{} operator({}.{}) {}").format(
            sql.Identifier(parent, column), sql.Identifier(schema), sql.SQL(operator), sql.Identifier(child, own)
        )
        for column, own, (schema, operator) in zip(key.parent_columns, key.columns, key.operators, strict=True)
    )


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)
