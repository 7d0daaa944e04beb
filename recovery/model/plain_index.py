"""An index that can be dropped before a load and built after it, and the words for several of them."""

from __future__ import annotations

from collections.abc import Iterable

from recovery.model.values import TableName, Value


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
