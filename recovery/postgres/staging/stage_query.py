"""The names of a stage and the SQL that speaks of it: text alone, nothing is executed."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from psycopg import sql

from recovery.model.catalog import ForeignKey, Table
from recovery.postgres.comparison.table_scan import Field
from recovery.postgres.trusted_sql import trusted_sql

OWN_COLUMNS = 6
MOST_COLUMNS = 1_600  # of a table in PostgreSQL (MaxHeapAttributeNumber)


class StagedOp(StrEnum):
    """Why a row is staged, as the stage and the before-images hold it."""

    INSERT = "i"
    UPDATE = "u"
    DELETE = "d"
    STAYING = "k"  # it stays as it is, and children must not be given to it
    EARLIER = "p"  # an earlier batch put it there


WRITES = (StagedOp.INSERT, StagedOp.UPDATE, StagedOp.DELETE)
PUTS = (StagedOp.INSERT, StagedOp.UPDATE)
LEAVES = (StagedOp.UPDATE, StagedOp.DELETE)


def op_list(ops: Sequence[StagedOp]) -> sql.Composable:
    """`ops` for an `in (…)`."""
    return sql.SQL(", ").join(sql.Literal(op.value) for op in ops)


def stageable(table: Table) -> bool:
    """Whether there is room for our own columns beside the table's."""
    return len(table.columns) + OWN_COLUMNS <= MOST_COLUMNS


class StageQuery:
    """The SQL about the stage of `table`; `columns` are those that values are given for, `no` tells stages apart."""

    def __init__(self, table: Table, columns: Sequence[str], no: int) -> None:
        self.table, self.columns, self.no = table, tuple(columns), no
        by_name = {column.name: column for column in table.columns}
        self.fields = tuple(Field(name, by_name[name]) for name in columns)
        self._equality = {name: column.equality for name, column in by_name.items()}
        prefix = "rowback_"
        while any(name.startswith(prefix) for name in by_name):
            prefix = f"_{prefix}"
        self.n, self.op, self.xmin, self.nth, self.skip, self.early = (
            sql.Identifier(prefix + name) for name in ("n", "op", "xmin", "nth", "skip", "early")
        )
        self.relation = f"rowback_stage_{no}"
        self.name = sql.Identifier("pg_temp", self.relation)
        self.original = sql.SQL("only {}").format(sql.Identifier(*table.name.key))

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

    def differs(self, field: Field, left: str, right: str) -> sql.Composable:
        """Whether two aliases print differently in a column: equality by operator may hide 1.0 and 1.00.

        Only where the stored bytes differ texts are made; under a domain, whose base the stage has, always.
        """
        one, other = sql.Identifier(left, field.name), sql.Identifier(right, field.name)
        texts = sql.SQL("{}::text is distinct from {}::text").format(one, other)
        if field.column.has_domain:
            return texts
        return sql.SQL("(pg_catalog.record_image_ne(row({}), row({})) and {})").format(one, other, texts)

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

    def leaving(self, row: str = "t", *, ops: Sequence[StagedOp] = LEAVES) -> sql.Composable:
        """Whether the live row with the alias `row` is about to be updated or deleted; without a key, by its values."""
        if not self.table.key:
            return self.sql(
                "{there} || {row}.xmin::text in (select {planned} || o.{xmin}::text from {name} o"
                " where o.{op} in ({ops}) and o.{skip} is null)",
                there=self.row_text(row),
                row=sql.Identifier(row),
                planned=self.row_text("o"),
                ops=op_list(ops),
            )
        return self.sql(
            "exists (select from {name} o where o.{op} in ({ops}) and o.{skip} is null and {same})",
            ops=op_list(ops),
            same=self.same(row, "o"),
        )

    def moved(self, row: str) -> sql.Composable:
        """Whether the live row with the alias `row` is updated before anything is deleted."""
        return self.sql(
            "exists (select from {name} o where o.{op} = {update} and o.{early} and o.{skip} is null and {same})",
            same=self.same(row, "o"),
        )

    def among(self, numbers: Sequence[int]) -> sql.Composable:
        """Whether a staged row is one of these."""
        return self.sql("s.{n} = any({numbers})", numbers=sql.Literal(list(numbers)))

    def had_parent(self, key: ForeignKey, parents: Sequence[StageQuery]) -> sql.Composable:
        """Whether the parent of the staged row `s` was there at T: one that is gone is staged, to be written or not."""
        staged = (
            parent.sql("exists (select from {name} o where {equal})", equal=refers(key, "s", "o")) for parent in parents
        )
        return sql.SQL("({})").format(sql.SQL(" or ").join([*staged, sql.SQL("false")]))

    def sql(self, text: str, **parts: sql.Composable) -> sql.Composed:
        """Our own text, filled in: {name} (the stage), {original}, its own columns, {same}, `parts`.

        {insert}, {update}, … are the values of StagedOp, {writes} and {puts} lists of them.
        """
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
            **{op.name.lower(): sql.Literal(op.value) for op in StagedOp},
            "writes": op_list(WRITES),
            "puts": op_list(PUTS),
            "same": self.same("t", "s"),
        }
        return trusted_sql(text).format(**{**standard_parts, **parts})


def refers(key: ForeignKey, child: str, parent: str) -> sql.Composable:
    """The reference between two aliases, by the constraint's own operators (parent on the left)."""
    return sql.SQL(" and ").join(
        sql.SQL("{} operator({}.{}) {}").format(
            sql.Identifier(parent, column), sql.Identifier(schema), sql.SQL(operator), sql.Identifier(child, own)
        )
        for column, own, (schema, operator) in zip(key.parent_columns, key.columns, key.operators, strict=True)
    )
