"""An index that is away while its table is loaded whole, with everything that makes it what it is."""

from __future__ import annotations

from recovery.model.values import TableName, Value

HELD_FROM_ROWS = 100_000  # of a table at T: below that, keeping indexes up costs less than a second


class HeldIndex(Value):
    """A plain index: not unique, no constraint's, nothing depends on it.

    `definition`: as pg_get_indexdef gives it. `tablespace`: None for the database's own. `targets`: statistics targets
    by column number, where they are set. `clustered`: whether CLUSTER without a name goes by it.
    """

    table: TableName
    name: str
    definition: str
    tablespace: str | None = None
    targets: tuple[tuple[int, int], ...] = ()
    clustered: bool = False
    comment: str | None = None

    @property
    def relation(self) -> TableName:
        """Its own qualified name: an index is in its table's schema."""
        return TableName(schema_name=self.table.schema_name, name=self.name)
