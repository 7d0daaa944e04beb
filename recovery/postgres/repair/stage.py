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
from recovery.postgres.repair.rules import CheckRule, DistinctRule, expression
from recovery.postgres.repair.scan import Field, Values, row_hash

Hash = tuple[int, str]
CHANGED_SINCE = "changed by others since it was read"


@dataclass(frozen=True)
class Staged:
    """One row on its way into a stage: `op` is i, u, d, or k for a row that stays and is only looked at."""

    n: int
    op: str
    xmin: int | None
    values: Values


class Stage:
    """A temporary table for the planned rows of `table`; `columns` are those that values are given for."""

    def __init__(self, session: Session, table: Table, columns: Sequence[str], no: int) -> None:
        self.session, self.table, self.columns = session, table, tuple(columns)
        by_name = {column.name: column for column in table.columns}
        self.fields = tuple(Field(name, by_name[name]) for name in columns)
        prefix = "rowback_"
        while any(name.startswith(prefix) for name in by_name):
            prefix = f"_{prefix}"
        self.n, self.op, self.xmin, self.skip = (sql.Identifier(prefix + name) for name in ("n", "op", "xmin", "skip"))
        self._bare = f"rowback_stage_{no}"
        self.name = sql.Identifier("pg_temp", self._bare)
        self.live = sql.SQL("only {}").format(sql.Identifier(*table.name.key))

    def create(self) -> None:
        """The empty stage: the table's columns without its constraints; it goes with the transaction."""
        not_null = [sql.SQL("alter column {} drop not null").format(sql.Identifier(c.name))
                    for c in self.table.columns if c.not_null]  # fmt: skip
        self._run(
            "create temporary table {name} (like {of} including defaults including generated,"
            " {n} bigint primary key, {op} text not null, {xmin} xid, {skip} text) on commit drop",
            name=sql.Identifier(self._bare), of=sql.Identifier(*self.table.name.key),
        )  # fmt: skip
        if not_null:
            self._run("alter table {name} {changes}", changes=sql.SQL(", ").join(not_null))

    def fill(self, rows: Iterable[Staged]) -> None:
        """COPY the rows in."""
        given = [field for field in self.fields if not field.column.generated]
        places = [i for i, field in enumerate(self.fields) if not field.column.generated]
        into = self._sql(
            "copy {name} ({columns}) from stdin",
            columns=sql.SQL(", ").join([self.n, self.op, self.xmin, *(sql.Identifier(f.name) for f in given)]),
        )
        with self.session.cursor() as cursor, cursor.copy(into) as copy:
            for row in rows:
                xmin = None if row.xmin is None else str(row.xmin)
                copy.write_row((str(row.n), row.op, xmin, *(row.values[i] for i in places)))
        if self.table.key:
            keys = sql.SQL(", ").join(map(sql.Identifier, self.table.key))
            self._run("create index on {name} ({keys})", keys=keys)
        self._run("analyze {name}")

    def complete(self) -> None:
        """Columns that no value is given for keep, in updates, what the live row has: checks must see that."""
        absent = [c for c in self.table.columns if c.name not in self.columns and not c.generated]
        if absent and self.table.key:
            taken = sql.SQL(", ").join(sql.SQL("{0} = t.{0}").format(sql.Identifier(c.name)) for c in absent)
            self._run("update {name} s set {taken} from {live} t where s.{op} = 'u' and {same}", taken=taken)

    def mark_stale(self) -> int:
        """Skip updates and deletes whose live row is not the very version that the diff saw."""
        return self._mark(
            CHANGED_SINCE,
            "s.{op} in ('u', 'd') and not exists (select from {live} t where {same} and t.xmin = s.{xmin})",
        )

    def mark_taken(self, rule: DistinctRule) -> int:
        """Skip rows that would collide with a live row in a unique or exclusion key."""
        # A live row that is itself replaced or deleted does not stand in the way.
        stays = sql.SQL("not ({})").format(self._leaving()) if self.table.key else sql.SQL("true")
        return self._run(
            "update {name} set {skip} = format('unique key %I is taken by %s', {rule}::text, hit.shown)"
            " from ({collisions}) hit where {name}.{n} = hit.n and {name}.{skip} is null",
            rule=sql.Literal(rule.name), collisions=self._collisions(rule, stays, ops="'i', 'u'"),
        )  # fmt: skip

    def waits_for(self, op: str, rules: Sequence[DistinctRule]) -> bool:
        """Whether a row to come needs a key that a live row holds until it is updated (u) or deleted (d)."""
        ops = "'i'" if op == "u" else "'i', 'u'"
        return bool(self.table.key) and any(
            self.session.execute(self._collisions(rule, self._leaving(ops=f"'{op}'"), ops=ops)).fetchone()
            for rule in rules
        )

    def _leaving(self, row: str = "t", *, ops: str = "'u', 'd'") -> sql.Composable:
        """Whether the live row with the alias `row` is about to be updated or deleted."""
        return self._sql(
            "exists (select from {name} o where o.{op} in ({ops}) and o.{skip} is null and {same})",
            ops=expression(ops), same=self._same(row, "o"),
        )  # fmt: skip

    def _collisions(self, rule: DistinctRule, which: sql.Composable, *, ops: str) -> sql.Composed:
        """(n, the live row's key) of staged rows that collide with a live row for which `which` holds."""
        numbers = range(len(rule.expressions))
        values = [expression(text) for text in rule.expressions]
        names = [sql.Identifier(f"k{i}") for i in numbers]
        return self._sql(
            "select distinct on (s.n) s.n, t.shown from"
            " (select {n} as n, {values} from {name} where {op} in ({ops}) and {skip} is null and {where}) s"
            " join (select row({shown})::text as shown, {values} from {live} t where {where} and {which}) t"
            " on {collide} order by s.n, t.shown",
            ops=expression(ops), which=which,
            where=expression(f"({rule.predicate})") if rule.predicate else sql.SQL("true"),
            values=sql.SQL(", ").join(sql.SQL("({}) as {}").format(values[i], names[i]) for i in numbers),
            shown=sql.SQL(", ").join(map(sql.Identifier, self.table.key or self.columns)),
            collide=sql.SQL(" and ").join(
                sql.SQL("s.{0} operator({1}.{2}) t.{0}").format(
                    names[i], sql.Identifier(rule.operators[i][0]), expression(rule.operators[i][1])
                )
                for i in numbers
            ),
        )  # fmt: skip

    def mark_violating(self, rule: CheckRule) -> int:
        """Skip rows that a check, perhaps added since T, would refuse."""
        return self._run(
            "update {name} set {skip} = {why} where {op} in ('i', 'u') and {skip} is null and not ({rule})",
            why=sql.Literal(f"it violates {rule.name}"), rule=expression(rule.expression),
        )  # fmt: skip

    def mark_orphans(self, key: ForeignKey, parents: Sequence[Stage]) -> int:
        """Skip rows whose parent is neither live nor planned, or is another entity now."""
        filled = sql.SQL(" and ").join(sql.SQL("s.{} is not null").format(sql.Identifier(c)) for c in key.columns)
        only = sql.SQL("only ") if key.parent_tables == (key.parent,) else sql.SQL("")
        deleted = [p._planned(key, "p", "'d'") for p in parents if p.table.key]
        planned = [p._planned(key, "s", "'i', 'u'") for p in parents]
        found = self._sql(
            "exists (select from {only}{parent} p where {equal} and not ({deleted}))",
            only=only, parent=sql.Identifier(*key.parent.key), equal=_refers(key, "s", "p"),
            deleted=sql.SQL(" or ").join(deleted or [sql.SQL("false")]),
        )  # fmt: skip
        marked = self._mark(
            f"its parent in {key.parent} does not exist",
            "s.{op} in ('i', 'u') and {filled} and not ({found})",
            filled=filled, found=sql.SQL(" or ").join([found, *planned]),
        )  # fmt: skip
        for parent in parents:
            marked += self._mark(
                f"its parent in {key.parent} is another entity now", "s.{op} = 'i' and {reused}",
                reused=parent._planned(key, "s", "'k'"),
            )  # fmt: skip
        return marked

    def mark_referenced(self, key: ForeignKey, child: Stage | None) -> int:
        """Skip deletes of rows that a live row still references: a cascade must never do what nobody planned."""
        leaves: sql.Composable = sql.SQL("false")
        if child is not None and child.table.key:
            leaves = child._leaving("c")
        return self._mark(
            f"it is still referenced from {key.child}",
            "s.{op} = 'd' and exists (select from only {child} c where {equal} and not {leaves})",
            child=sql.Identifier(*key.child.key), equal=_refers(key, "c", "s"), leaves=leaves,
        )  # fmt: skip

    def skipped(self) -> Iterator[tuple[int, str]]:
        """(n, reason) of every row that will not be written."""
        yield from self.session.execute(
            self._sql("select {n}, {skip} from {name} where {skip} is not null and {op} <> 'k' order by 1")
        )

    def keep_before_images(self, schema: str, name: str) -> None:
        """Copy every live row that is about to change, and the number of every row to come, into a table of ours."""
        into = sql.Identifier(schema, name)
        self._run("create schema if not exists {schema}", schema=sql.Identifier(schema))
        same = self._sql("{same} and t.xmin = s.{xmin}") if self.table.key else self._equal_rows()
        self._run(
            "create table {into} as select s.{n}, s.{op}, t.* from {name} s left join {live} t"
            " on s.{op} in ('u', 'd') and {found} where s.{skip} is null and s.{op} <> 'k'",
            into=into, found=same,
        )  # fmt: skip
        self._run("comment on table {into} is {what}", into=into,
                  what=sql.Literal(f"before-images of {self.table.name}"))  # fmt: skip

    def delete(self) -> int:
        """Delete the planned rows."""
        same = self._sql("{same}") if self.table.key else self._equal_rows()
        return self._run(
            "delete from {live} t using {name} s where s.{op} = 'd' and s.{skip} is null and {found}"
            " and t.xmin = s.{xmin}",
            found=same,
        )

    def update(self) -> int:
        """Give the planned rows their new values. Key, generated and GENERATED ALWAYS identity columns stay."""
        fixed = set(self.table.key)
        changed = [
            field for field in self.fields
            if field.name not in fixed and not field.column.generated and field.column.identity != "a"
        ]  # fmt: skip
        if not changed or not self.table.key:  # without a key a changed row is a lost one and a new one
            return 0
        setting = sql.SQL(", ").join(sql.SQL("{0} = s.{0}").format(sql.Identifier(field.name)) for field in changed)
        return self._run(
            "update {live} t set {setting} from {name} s where s.{op} = 'u' and s.{skip} is null and {same}"
            " and t.xmin = s.{xmin}",
            setting=setting,
        )

    def insert(self) -> int:
        """Insert the planned rows with the identity values they had."""
        names = [sql.Identifier(field.name) for field in self.fields if not field.column.generated]
        if not names:
            return self._run("insert into {table} select from {name} where {op} = 'i' and {skip} is null")
        return self._run(
            "insert into {table} ({columns}) overriding system value select {columns} from {name}"
            " where {op} = 'i' and {skip} is null order by {n}",
            columns=sql.SQL(", ").join(names),
        )

    def planned_hash(self) -> Hash:
        """Rows to be written and their checksum."""
        return self._hash(self._sql("{name} where {op} in ('i', 'u') and {skip} is null"))

    def written_hash(self, xid: int) -> Hash:
        """Rows of the live table that transaction `xid` wrote, and their checksum."""
        return self._hash(self._sql("{live} where xmin = {xid}", xid=_xid(xid)))

    def rest_hash_before(self) -> Hash:
        """Every live row that the plan does not touch."""
        leaving = (
            self._leaving()
            if self.table.key
            else self._sql(
                "exists (select from {name} s where s.{op} = 'd' and s.{skip} is null and {equal})",
                equal=self._equal_rows(),
            )
        )
        return self._hash(self._sql("{live} t where not {leaving}", leaving=leaving))

    def rest_hash_after(self, xid: int) -> Hash:
        """Every live row that transaction `xid` did not write."""
        return self._hash(self._sql("{live} where xmin <> {xid}", xid=_xid(xid)))

    def dangling(self, key: ForeignKey) -> int:
        """Rows just written whose parent is missing: replica mode never looks by itself."""
        filled = sql.SQL(" and ").join(sql.SQL("s.{} is not null").format(sql.Identifier(c)) for c in key.columns)
        only = sql.SQL("only ") if key.parent_tables == (key.parent,) else sql.SQL("")
        return self._count(
            "select count(*) from {name} s where s.{op} in ('i', 'u') and s.{skip} is null and {filled}"
            " and not exists (select from {only}{parent} p where {equal})",
            filled=filled, only=only, parent=sql.Identifier(*key.parent.key), equal=_refers(key, "s", "p"),
        )  # fmt: skip

    def left_behind(self, key: ForeignKey) -> int:
        """Live rows that still reference a row just deleted."""
        return self._count(
            "select count(*) from only {child} c where exists"
            " (select from {name} s where s.{op} = 'd' and s.{skip} is null and {equal})",
            child=sql.Identifier(*key.child.key), equal=_refers(key, "c", "s"),
        )  # fmt: skip

    def count(self, op: str) -> int:
        """Rows of one operation that will be written."""
        return self._count(
            "select count(*) from {name} where {op} = {wanted} and {skip} is null", wanted=sql.Literal(op)
        )

    def _planned(self, key: ForeignKey, row: str, ops: str) -> sql.Composable:
        """Whether a row of this stage with one of `ops` is the parent of `row`, or is the parent `p` itself."""
        equal = self._same("p", "o") if row == "p" else _refers(key, row, "o")
        skip = sql.SQL("true") if ops == "'k'" else self._sql("o.{skip} is null")
        return self._sql(
            "exists (select from {name} o where o.{op} in ({ops}) and {not_skipped} and {equal})",
            ops=expression(ops), not_skipped=skip, equal=equal,
        )  # fmt: skip

    def _mark(self, why: str, condition: str, **parts: sql.Composable) -> int:
        return self._run(
            "update {name} s set {skip} = {why} where s.{skip} is null and {condition}",
            why=sql.Literal(why), condition=self._sql(condition, **parts),
        )  # fmt: skip

    def _same(self, left: str, right: str) -> sql.Composable:
        return sql.SQL(" and ").join(
            sql.SQL("{} = {}").format(sql.Identifier(left, name), sql.Identifier(right, name))
            for name in self.table.key
        )

    def _equal_rows(self) -> sql.Composable:
        """Without a key: the same values, written by the same transaction."""
        same = [
            sql.SQL("t.{0}::text is not distinct from s.{0}::text").format(sql.Identifier(name))
            for name in self.columns
        ]
        return sql.SQL(" and ").join([*same, self._sql("t.xmin = s.{xmin}")])

    def _hash(self, rows: sql.Composable) -> Hash:
        total = row_hash(self.fields, self.session)
        row = self.session.execute(
            self._sql("select count(*), coalesce(sum({total}), 0)::text from {rows}", total=total, rows=rows)
        ).fetchone()
        assert row
        return row[0], row[1]

    def _count(self, text: str, **parts: sql.Composable) -> int:
        row = self.session.execute(self._sql(text, **parts)).fetchone()
        assert row
        return int(row[0])

    def _run(self, text: str, **parts: sql.Composable) -> int:
        return self.session.execute(self._sql(text, **parts)).rowcount

    def _sql(self, text: str, **parts: sql.Composable) -> sql.Composed:
        known = {
            "name": self.name, "live": self.live, "table": sql.Identifier(*self.table.name.key), "n": self.n,
            "op": self.op, "xmin": self.xmin, "skip": self.skip, "same": self._same("t", "s"),
        }  # fmt: skip
        return expression(text).format(**{**known, **parts})


def before_image_schema(case: str) -> str:
    """The schema that keeps a case's before-images."""
    return "rowback_case_" + case.replace("-", "_")


def _refers(key: ForeignKey, child: str, parent: str) -> sql.Composable:
    """The reference between two aliases, by the constraint's own operators (parent on the left)."""
    return sql.SQL(" and ").join(
        sql.SQL("{} operator({}.{}) {}").format(
            sql.Identifier(parent, column), sql.Identifier(schema), sql.SQL(operator), sql.Identifier(child, own)
        )
        for column, own, (schema, operator) in zip(key.parent_columns, key.columns, key.operators, strict=True)
    )  # fmt: skip


def _xid(xid: int) -> sql.Composable:
    return sql.SQL("{}::xid").format(sql.Literal(str(xid % 2**32)))
