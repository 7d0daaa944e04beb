"""How a table is loaded whole, and the indexes that make the difference."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from recovery.model.values import TableName, Value


class LoadStrategy(StrEnum):
    """What becomes of a table's non-unique indexes while it is loaded whole."""

    AUTO = "auto"  # in place where a table gets many rows, else plain
    IN_PLACE = "in-place"  # dropped before, built again from all rows at once
    PLAIN = "plain"  # they stay, and every row is entered into each


INDEXES = {
    LoadStrategy.AUTO: "non-unique ones of tables that get many rows are dropped before the rows come, and built after"
    " them (--load plain keeps them)",
    LoadStrategy.IN_PLACE: "non-unique ones of tables loaded whole are dropped before the rows come, and built after"
    " them",
    LoadStrategy.PLAIN: "all stay, and every row is entered into each",
}  # what a plan says of it


class PlainIndex(Value):
    """A non-unique index that no constraint rests on, and all that it takes to build it again under its own name.

    It lies in the schema of its table; `table_oid` knows that by whatever name. `definition`: pg_get_indexdef's text,
    without the `tablespace` (empty: the database's). `statistics`: column number → target, of its expressions.
    `clustered`: CLUSTER orders the table by it.
    """

    table: TableName
    table_oid: int
    name: str
    definition: str
    tablespace: str = ""
    comment: str | None = None
    statistics: tuple[tuple[int, int], ...] = ()
    clustered: bool = False

    @property
    def relation(self) -> TableName:
        """The index's own name."""
        return TableName(schema_name=self.table.schema_name, name=self.name)


def named_indexes(indexes: Iterable[PlainIndex]) -> str:
    """`2 indexes of public.t ("a", "b"), 1 index of …`."""
    by_table: dict[TableName, list[str]] = {}
    for index in indexes:
        by_table.setdefault(index.table, []).append(f'"{index.name}"')
    return ", ".join(
        f"{counted_indexes(len(names))} of {table} ({', '.join(names)})" for table, names in by_table.items()
    )


def counted_indexes(count: int) -> str:
    """`1 index`, `12 indexes`."""
    return "1 index" if count == 1 else f"{count:,} indexes"
