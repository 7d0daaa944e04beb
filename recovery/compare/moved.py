"""Rows that look lost and are not: their key was changed, or they moved to another partition.

Such a row is a lost one and a new one. Putting the old version back beside the new would double it, so a lost row stays
blocked when a row written since T agrees with it in everything that such a change leaves alone.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from recovery.compare.changes import Texts
from recovery.compare.mapping import Mapping as Columns
from recovery.model.catalog import Catalog
from recovery.model.values import TableName

MAYBE_MOVED = "a row written since T agrees with it in all but its key or partition: it may have moved there"
AGREE_AT_LEAST = 2


@dataclass(frozen=True)
class Likeness:
    """By what two rows of one `family` (a table, or all partitions of one root) are the same in spite of their keys."""

    family: str
    positions: tuple[int, ...]

    def of(self, row: Texts) -> str | None:
        """A mark that two versions of one row share; None when too little would have to agree."""
        values = [row[i] for i in self.positions]
        if sum(value is not None for value in values) < AGREE_AT_LEAST:
            return None
        return hashlib.sha256(json.dumps([self.family, values]).encode()).hexdigest()


def likeness_of(columns: Columns, catalog: Catalog) -> Likeness | None:
    """How moved rows of a table are recognized. None where keys are given out by the server: nobody changes those."""
    table = columns.live
    if table.partition_key:
        free, family = set(table.partition_key), _root(table.name, catalog)
    else:
        given_out = {c.name for c in table.columns if c.identity or c.has_default}
        if not table.key or given_out & set(table.key):
            return None
        free, family = set(table.key), str(table.name)
    order = sorted((name, i) for i, name in enumerate(columns.columns) if name not in free)
    return Likeness(family, tuple(i for _, i in order)) if len(order) >= AGREE_AT_LEAST else None


def _root(leaf: TableName, catalog: Catalog) -> str:
    """The topmost partitioned table above a leaf: the one with the most leaves."""
    above = [part for part in catalog.partitioned if leaf in part.leaves]
    return str(max(above, key=lambda part: len(part.leaves)).name) if above else str(leaf)
