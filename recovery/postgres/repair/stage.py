"""Planned rows in a temporary table beside the table they are for, with the original's own types.

Everything that can be said about a planned row before it is written is said here, by the server: its live row changed,
a key is taken, a check fails, its parent is missing, somebody still references it. Rows so marked are skipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from psycopg import sql

from recovery.model.catalog import ForeignKey, Table
from recovery.postgres.connect import Session
from recovery.postgres.repair.rules import expression
from recovery.postgres.repair.scan import Field, Values, fields_hash
from recovery.postgres.row_versions import written_by

Hash = tuple[int, str]


@dataclass(frozen=True)
class Staged:
    """One row on its way into a stage: `op` is i, u, d; k for a row that stays and is only looked at; p for one that an
    earlier portion put there, as transaction `xmin`."""

    n: int
    op: str
    xmin: int | None
    values: Values


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
        self.n, self.op, self.xmin, self.skip, self.early = (
            sql.Identifier(prefix + name) for name in ("n", "op", "xmin", "skip", "early")
        )
        self._bare = f"rowback_stage_{no}"
        self._images = sql.Identifier(self._bare)
        self.name = sql.Identifier("pg_temp", self._bare)
        self.writes = False  # rows that only stand in the way of others are staged as well
        self.live = sql.SQL("only {}").format(sql.Identifier(*table.name.key))

    def create(self) -> None:
        """The empty stage: the table's columns without its constraints; it goes with the transaction."""
        not_null = [sql.SQL("alter column {} drop not null").format(sql.Identifier(c.name))
                    for c in self.table.columns if c.not_null]  # fmt: skip
        self.run(
            "create temporary table {name} (like {of} including defaults including generated,"
            " {n} bigint primary key, {op} text not null, {xmin} xid, {skip} text,"
            " {early} boolean not null default false) on commit drop",
            name=sql.Identifier(self._bare), of=sql.Identifier(*self.table.name.key),
        )  # fmt: skip
        if not_null:
            self.run("alter table {name} {changes}", changes=sql.SQL(", ").join(not_null))

    def fill(self, rows: Iterable[Staged]) -> None:
        """COPY the rows in."""
        given = [field for field in self.fields if not field.column.generated]
        places = [i for i, field in enumerate(self.fields) if not field.column.generated]
        into = self.sql(
            "copy {name} ({columns}) from stdin",
            columns=sql.SQL(", ").join([self.n, self.op, self.xmin, *(sql.Identifier(f.name) for f in given)]),
        )
        with self.session.cursor() as cursor, cursor.copy(into) as copy:
            for row in rows:
                xmin = None if row.xmin is None else str(row.xmin)
                self.writes = self.writes or row.op in "iud"
                copy.write_row((str(row.n), row.op, xmin, *(row.values[i] for i in places)))
        if self.table.key:
            keys = sql.SQL(", ").join(map(sql.Identifier, self.table.key))
            self.run("create index on {name} ({keys})", keys=keys)
        self.run("analyze {name}")

    def complete(self) -> None:
        """Columns that no value is given for keep, in updates, what the live row has: checks must see that."""
        absent = [c for c in self.table.columns if c.name not in self.columns and not c.generated]
        if absent and self.table.key:
            taken = sql.SQL(", ").join(sql.SQL("{0} = t.{0}").format(sql.Identifier(c.name)) for c in absent)
            self.run("update {name} s set {taken} from {live} t where s.{op} = 'u' and {same}", taken=taken)

    def skipped(self) -> Iterator[tuple[int, str]]:
        """(n, reason) of every row that will not be written."""
        yield from self.session.execute(
            self.sql("select {n}, {skip} from {name} where {skip} is not null and {op} in ('i', 'u', 'd') order by 1")
        )

    def keep_before_images(self, schema: str, name: str) -> None:
        """Copy every live row that is about to change, and the number of every row to come, into a table of ours."""
        into = self._images = sql.Identifier(schema, name)
        self.run("create schema if not exists {schema}", schema=sql.Identifier(schema))
        self.run(
            "create table if not exists {into} as select s.{n}, s.{op}, t.* from {name} s, {live} t with no data",
            into=into,
        )
        if self.table.key:
            self.run(
                "insert into {into} select s.{n}, s.{op}, t.* from {name} s left join {live} t"
                " on s.{op} in ('u', 'd') and {same} and t.xmin = s.{xmin}"
                " where s.{skip} is null and s.{op} in ('i', 'u', 'd')",
                into=into,
            )  # fmt: skip
        else:  # without a key nothing is updated, and a row that leaves is known by all its values
            own = (sql.SQL("case s.{} when 'd' then s.{} end").format(self.op, sql.Identifier(c.name))
                   for c in self.table.columns)  # fmt: skip
            self.run(
                "insert into {into} select s.{n}, s.{op}{values} from {name} s"
                " where s.{skip} is null and s.{op} in ('i', 'd')",
                into=into, values=sql.SQL("").join(sql.SQL(", {}").format(value) for value in own),
            )  # fmt: skip
        self.run("comment on table {into} is {what}", into=into,
                  what=sql.Literal(f"before-images of {self.table.name}"))  # fmt: skip

    def delete(self) -> int:
        """Delete the planned rows."""
        same = self.sql("{same}") if self.table.key else self.equal_rows()
        return self.run(
            "delete from {live} t using {name} s where s.{op} = 'd' and s.{skip} is null and {found}"
            " and t.xmin = s.{xmin}",
            found=same,
        )

    def update(self, *, early: bool = False) -> int:
        """Give the planned rows their new values: those marked to come early, or the others. Key, generated and
        GENERATED ALWAYS identity columns stay."""
        fixed = set(self.table.key)
        changed = [
            field for field in self.fields
            if field.name not in fixed and not field.column.generated and field.column.identity != "a"
        ]  # fmt: skip
        if not changed or not self.table.key:  # without a key a changed row is a lost one and a new one
            return 0
        setting = sql.SQL(", ").join(sql.SQL("{0} = s.{0}").format(sql.Identifier(field.name)) for field in changed)
        return self.run(
            "update {live} t set {setting} from {name} s where s.{op} = 'u' and s.{skip} is null and {same}"
            " and t.xmin = s.{xmin} and s.{early} = {now}",
            setting=setting,
            now=sql.Literal(early),
        )

    def insert(self) -> int:
        """Insert the planned rows with the identity values they had."""
        names = [sql.Identifier(field.name) for field in self.fields if not field.column.generated]
        if not names:
            return self.run("insert into {table} select from {name} where {op} = 'i' and {skip} is null")
        return self.run(
            "insert into {table} ({columns}) overriding system value select {columns} from {name}"
            " where {op} = 'i' and {skip} is null order by {n}",
            columns=sql.SQL(", ").join(names),
        )

    def planned_hash(self) -> Hash:
        """Rows to be written and their checksum."""
        return self._hash(self.sql("{name} where {op} in ('i', 'u') and {skip} is null"))

    def written_hash(self, xid: int) -> Hash:
        """Rows of the live table that transaction `xid` wrote, and their checksum."""
        return self._hash(self.sql("{live} where {ours}", ours=written_by([xid])))

    def rest_hash_before(self) -> Hash:
        """Every live row that the plan does not touch."""
        leaving = (
            self.leaving()
            if self.table.key
            else self.sql(
                "exists (select from {name} s where s.{op} = 'd' and s.{skip} is null and {equal})",
                equal=self.equal_rows(),
            )
        )
        return self._hash(self.sql("{live} t where not {leaving}", leaving=leaving))

    def rest_hash_after(self, xid: int) -> Hash:
        """Every live row that transaction `xid` did not write."""
        return self._hash(self.sql("{live} where not {ours}", ours=written_by([xid])))

    def dangling(self, key: ForeignKey) -> int:
        """Rows just written with a reference they did not have whose parent is missing: replica mode never looks."""
        filled = sql.SQL(" and ").join(sql.SQL("s.{} is not null").format(sql.Identifier(c)) for c in key.columns)
        only = sql.SQL("only ") if key.parent_tables == (key.parent,) else sql.SQL("")
        return self._count(
            "select count(*) from {name} s where s.{skip} is null and {filled} and (s.{op} = 'i' or s.{op} = 'u'"
            " and exists (select from {images} b where b.{n} = s.{n} and ({changes})))"
            " and not exists (select from {only}{parent} p where {equal})",
            filled=filled, only=only, parent=sql.Identifier(*key.parent.key), equal=refers(key, "s", "p"),
            images=self._images, changes=sql.SQL(" or ").join(
                sql.SQL("b.{0} is distinct from s.{0}").format(sql.Identifier(column)) for column in key.columns
            ),
        )  # fmt: skip

    def left_behind(self, key: ForeignKey) -> int:
        """Live rows that still reference a row just deleted."""
        return self._count(
            "select count(*) from only {child} c where exists"
            " (select from {name} s where s.{op} = 'd' and s.{skip} is null and {equal})",
            child=sql.Identifier(*key.child.key), equal=refers(key, "c", "s"),
        )  # fmt: skip

    def count(self, op: str) -> int:
        """Rows of one operation that will be written."""
        return self._count(
            "select count(*) from {name} where {op} = {wanted} and {skip} is null", wanted=sql.Literal(op)
        )

    def leaving(self, row: str = "t", *, ops: str = "'u', 'd'") -> sql.Composable:
        """Whether the live row with the alias `row` is about to be updated or deleted."""
        return self.sql(
            "exists (select from {name} o where o.{op} in ({ops}) and o.{skip} is null and {same})",
            ops=expression(ops), same=self.same(row, "o"),
        )  # fmt: skip

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
                sql.Identifier(left, name), sql.Identifier(self._equality[name][0]),
                expression(self._equality[name][1]), sql.Identifier(right, name),
            )
            for name in self.table.key
        )  # fmt: skip

    def row_text(self, row: str) -> sql.Composable:
        """All compared values of the row with the alias `row` as one text."""
        texts = (sql.SQL("{}::text").format(sql.Identifier(row, name)) for name in self.columns)
        return sql.SQL("row({})::text").format(sql.SQL(", ").join(texts))

    def equal_rows(self) -> sql.Composable:
        """Without a key: the same values, written by the same transaction."""
        same = [
            sql.SQL("t.{0}::text is not distinct from s.{0}::text").format(sql.Identifier(name))
            for name in self.columns
        ]
        return sql.SQL(" and ").join([*same, self.sql("t.xmin = s.{xmin}")])

    def _hash(self, rows: sql.Composable) -> Hash:
        total = fields_hash(self.fields, self.session)
        row = self.session.execute(
            self.sql("select count(*), coalesce(sum({total}), 0)::text from {rows}", total=total, rows=rows)
        ).fetchone()
        assert row
        return row[0], row[1]

    def _count(self, text: str, **parts: sql.Composable) -> int:
        row = self.session.execute(self.sql(text, **parts)).fetchone()
        assert row
        return int(row[0])

    def run(self, text: str, **parts: sql.Composable) -> int:
        """Execute a template of `sql`; how many rows it touched."""
        return self.session.execute(self.sql(text, **parts)).rowcount

    def sql(self, text: str, **parts: sql.Composable) -> sql.Composed:
        """Our own text, filled in: {name} (the stage), {live}, {n}, {op}, {xmin}, {skip}, {early}, {same}, `parts`."""
        known = {
            "name": self.name, "live": self.live, "table": sql.Identifier(*self.table.name.key), "n": self.n,
            "op": self.op, "xmin": self.xmin, "skip": self.skip, "early": self.early,
             "same": self.same("t", "s"),
        }  # fmt: skip
        return expression(text).format(**{**known, **parts})


def before_image_schema(case: str) -> str:
    """The schema that keeps a case's before-images."""
    return "rowback_case_" + case.replace("-", "_")


def refers(key: ForeignKey, child: str, parent: str) -> sql.Composable:
    """The reference between two aliases, by the constraint's own operators (parent on the left)."""
    return sql.SQL(" and ").join(
        sql.SQL("{} operator({}.{}) {}").format(
            sql.Identifier(parent, column), sql.Identifier(schema), sql.SQL(operator), sql.Identifier(child, own)
        )
        for column, own, (schema, operator) in zip(key.parent_columns, key.columns, key.operators, strict=True)
    )  # fmt: skip
