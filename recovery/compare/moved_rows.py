"""Rows that look lost and are not: their key was changed, or they moved to another partition.

Such a row is a lost one and a new one. Putting the old version back beside the new would double it, so a lost row stays
blocked when a row written since T agrees with it in everything that such a change leaves alone, or, in another
partition, has what distinguishes this one from others over all partitions: the number that the server gave to it; the
rest of its key, where that is known to be its alone. Whether a row moved and is otherwise as it was is asked of the
server, when it is staged: postgres/staging/row_obstacles.py (mark_moved), with the tables of
changeset/move_targets.py.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from recovery.changeset.column_mapping import ColumnMapping
from recovery.changeset.row_change import Texts
from recovery.model.catalog import Catalog
from recovery.model.values import TableName

MAYBE_MOVED = "a row written since T agrees with it in all but its key or partition: it may have moved there"
SAME_NUMBER = "a row with its number was written into another partition since T: it may be this one, edited"
SAME_REST = "a row with the rest of its key was written into another partition since T: it may be this one, edited"
BY_INCIDENT = "the incident wrote a row with the rest of its key into another partition: it may be this one, edited"
AGREE_AT_LEAST = 2


@dataclass(frozen=True)
class RowSignature:
    """By what two rows of one `family` (a table, or all partitions of one root) are the same in spite of their keys.

    The values at `positions`; those at `given_out`, which the server gives out once over all partitions; or, of a
    partitioned table whose key has none of these, those at `rest`, its key without the columns it is partitioned by.
    """

    family: str
    positions: tuple[int, ...]
    given_out: tuple[int, ...] = ()
    rest: tuple[int, ...] = ()

    def of(self, row: Texts) -> str | None:
        """A mark that two versions of one row share; None when too little would have to agree."""
        values = [row[i] for i in self.positions]
        if sum(value is not None for value in values) < AGREE_AT_LEAST:
            return None
        return self._mark("content", values)

    def number_of(self, row: Texts) -> str | None:
        """A mark that a row keeps when it is edited; None where no such number is given out."""
        return self._mark("number", [row[i] for i in self.given_out]) if self.given_out else None

    def rest_of(self, row: Texts) -> str | None:
        """A mark that a row keeps in every partition; other rows may have it as well."""
        return self._mark("rest", [row[i] for i in self.rest]) if self.rest else None

    def incident_rest_of(self, row: Texts) -> str | None:
        """The same for rows that the incident wrote."""
        return self._mark("rest by incident", [row[i] for i in self.rest]) if self.rest else None

    def marks(self, row: Texts) -> list[str]:
        """All marks of a row, for rows that the incident wrote and for others."""
        return [mark for mark in (self.of(row), self.number_of(row), self.rest_of(row)) if mark]

    def _mark(self, kind: str, values: list[str | None]) -> str:
        return hashlib.sha256(json.dumps([kind, self.family, values]).encode()).hexdigest()


def row_signature_of(columns: ColumnMapping, catalog: Catalog) -> RowSignature | None:
    """How moved rows of a table are recognized. None where the server generates the key, which is not updated then."""
    table = columns.original
    given_out = {c.name for c in table.columns if c.identity or c.has_default} & set(table.key)
    if table.partition_key:
        free, family = set(table.partition_key), str(root_of(table.name, catalog))
        # before 17 a partition's column did not know of its root's identity
        given_out |= {c.column for c in catalog.sequences if c.table == table.name and c.column} & set(table.key)
        given_out -= free
    elif not table.key or given_out:
        return None
    else:
        free, family = set(table.key), str(table.name)
    order = sorted((name, i) for i, name in enumerate(columns.columns) if name not in free)
    numbers = tuple(i for name, i in order if name in given_out)
    rest = () if numbers else tuple(i for name, i in order if name in table.key)
    if len(order) < AGREE_AT_LEAST and not numbers and not rest:
        return None
    return RowSignature(family, tuple(i for _, i in order), numbers, rest)


def root_of(leaf: TableName, catalog: Catalog) -> TableName:
    """The topmost partitioned table above a leaf, the one with the most leaves; of a plain table itself."""
    above = [part for part in catalog.partitioned if leaf in part.leaves]
    return max(above, key=lambda part: len(part.leaves)).name if above else leaf
