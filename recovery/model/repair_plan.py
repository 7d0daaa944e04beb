"""The repair plan: what every row of the scope became since T, and the exact writes that follow from it."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Literal

from recovery.model.account import LostValues, TableAccount
from recovery.model.catalog import ColumnNumbers, Trigger
from recovery.model.catalog_object import CatalogObject
from recovery.model.dropped_schema import DroppedSchema
from recovery.model.modes import DEFAULT, MODES
from recovery.model.modes.reload_mode import Mode, ReloadMode
from recovery.model.plain_index import PlainIndex
from recovery.model.row_class import OnConflict, RowClass
from recovery.model.table_parts import LostParts
from recovery.model.values import TableName, Value, digest_of


class DetectionMethod(StrEnum):
    """How the rows that may differ were found."""

    LINEAGE = "lineage"  # transaction ids, checked by content
    BUCKETS = "buckets"  # checksums of key ranges
    WHOLE_ROWS = "whole rows"  # no key: equal rows are counted
    FOLLOWED = "followed"  # only rows that other lost rows led to


class RepairRequest(Value):
    """How differing rows are to be treated.

    `incident_xids`: xmin of rows the bad statement wrote; `incident_ranges`: the same as first and last id, of which
    only those count that wrote such rows.

    `decisions`: the file of the case's directory that decides single rows over mode and policy.
    """

    mode: Mode = DEFAULT.name
    incident_xids: tuple[int, ...] = ()
    incident_ranges: tuple[tuple[int, int], ...] = ()
    on_conflict: OnConflict = OnConflict.KEEP_LIVE
    decisions: str | None = None

    @property
    def reload_mode(self) -> ReloadMode:
        """What the mode does to each class of rows."""
        return MODES[self.mode]

    def names(self, xmin: int) -> bool:
        """Whether a row that carries `xmin` was written by the incident, as far as it was named."""
        return any(xid % 2**32 == xmin for xid in self.incident_xids) or any(
            low <= xmin <= high for low, high in self.incident_ranges
        )


class Pace(Value):
    """How fast rows may come back: in batches, each its own transaction, with at most so much WAL a second."""

    wal_bytes_per_s: int


class Writer(Value):
    """One transaction that wrote rows of the scope after T, and which columns its rows differ in."""

    xid: int
    table: TableName
    rows: int
    columns: tuple[str, ...]


class TableRepair(Value):
    """One table: its rows by class, and what will be written. `because` says who pulled it into the scope.

    `loses`: rows to be updated or deleted that others wrote after T. `account`: what becomes of its rows at T.
    """

    name: TableName
    engine: DetectionMethod
    because: str
    rows_at_target: int
    classes: dict[RowClass, int]
    inserts: int
    updates: int
    deletes: int
    loses: int = 0
    mapped: tuple[str, ...] = ()
    account: TableAccount

    @property
    def writes(self) -> int:
        """Rows that will be written."""
        return self.inserts + self.updates + self.deletes

    def count(self, kind: RowClass) -> int:
        """Rows of one class."""
        return self.classes.get(kind, 0)


class LiftedConstraint(Value):
    """A NOT VALID check or foreign key, lifted while `rows` that were there beside it at T come back.

    `parent`: the table that a foreign key references.
    """

    table: TableName
    name: str
    rows: int
    parent: TableName | None = None


class ImagesDigest(Value):
    """Number and order-independent checksum of before-images: the sum of their rows' hashes."""

    rows: int = 0
    checksum: int = 0

    def plus(self, other: ImagesDigest) -> ImagesDigest:
        """Of both."""
        return ImagesDigest(rows=self.rows + other.rows, checksum=self.checksum + other.checksum)

    def minus(self, other: ImagesDigest) -> ImagesDigest:
        """Of those that stay when `other` are taken out."""
        return ImagesDigest(rows=self.rows - other.rows, checksum=self.checksum - other.checksum)


class RepairPlan(Value):
    """Everything `apply` will do, bound by `digest`.

    The rows themselves are in the case's change set `number`, whose own digest is `changes_digest`. No change set:
    nothing was to be compared, `filled` are loaded whole.

    `elsewhere`: rows that the incident changed in tables outside the scope. `possible_incident`: transactions that may
    be savepoints of the incident, which nothing proves. `unexamined`: tables that may have lost rows and could not be
    looked at. `columns`: of the tables in the change set, as they were called when they were compared. `rebuilt`:
    indexes of `filled` that are dropped before the rows come and built after them. `swapped`: those that are built
    under hidden names and exchanged. `recreated`: objects that were dropped and are made anew; `schemas`: those of
    them that no archive holds; `parts`: columns and the like that come back in tables that are there. `rehearsed`: how
    many of all these were made and rolled back
    beforehand. `differing`: what is there, not as it was at T, and stays so.
    """

    schema_version: Literal[1] = 1
    case: str
    number: int | None
    request: RepairRequest
    tables: tuple[TableRepair, ...]
    filled: tuple[TableName, ...]
    writers: tuple[Writer, ...]
    held_triggers: tuple[Trigger, ...]
    notices: tuple[str, ...]
    elsewhere: tuple[TableAccount, ...] = ()
    possible_incident: tuple[Writer, ...] = ()
    unexamined: tuple[str, ...] = ()
    values_lost: tuple[LostValues, ...] = ()
    lifted: tuple[LiftedConstraint, ...] = ()
    rebuilt: tuple[PlainIndex, ...] = ()
    swapped: tuple[TableName, ...] = ()
    recreated: tuple[CatalogObject, ...] = ()
    schemas: tuple[DroppedSchema, ...] = ()
    parts: tuple[LostParts, ...] = ()
    rehearsed: int = 0
    differing: tuple[str, ...] = ()
    wal_bytes_estimated: int
    changes_digest: str
    columns: ColumnNumbers = {}

    @property
    def digest(self) -> str:
        """What `apply` must be given."""
        newer = ("rebuilt", "swapped", "recreated", "schemas", "parts", "rehearsed", "differing")
        by_default = {name for name in newer if not getattr(self, name)}  # as in older plans
        return digest_of(self, without=frozenset(by_default))

    @property
    def writes(self) -> int:
        """Rows to be written one by one; the tables in `filled` come on top."""
        return sum(table.writes for table in self.tables)

    @property
    def made_anew(self) -> int:
        """Objects, and parts of tables that are there."""
        return len(self.recreated) + len(self.schemas) + sum(lost.count for lost in self.parts)

    @property
    def conflicts(self) -> int:
        """Rows that the incident and others changed, and that stay as they are."""
        return sum(table.account.conflict for table in self.tables)

    @property
    def loses(self) -> int:
        """Rows whose present content would be lost, because they were written after T (mode replace)."""
        return sum(table.loses for table in self.tables) if self.request.reload_mode.overwrites_newer else 0

    def to_json(self) -> str:
        """The plan with its digest, for people and programs."""
        return json.dumps({"digest": self.digest, **self.model_dump(mode="json")}, indent=1, ensure_ascii=False)
