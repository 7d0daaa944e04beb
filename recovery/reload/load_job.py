"""What a load needs to know beforehand, and what it did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from recovery.changeset.batches import Selection
from recovery.changeset.change_set import ChangeSet
from recovery.model.account import Reason
from recovery.model.catalog import Catalog, ColumnNumbers, Trigger
from recovery.model.catalog import Sequence as Counter
from recovery.model.plain_index import PlainIndex
from recovery.model.recovery_report import Fingerprint, SequenceMove
from recovery.model.repair_plan import ImagesDigest, LiftedConstraint
from recovery.model.values import TableName, Value
from recovery.postgres.connect import Session
from recovery.postgres.copy_rows import Pair


class WrittenRows(Value):
    """What was done to one table that was repaired row by row."""

    inserted: int
    updated: int
    deleted: int

    @property
    def total(self) -> int:
        """Rows written."""
        return self.inserted + self.updated + self.deleted


class BeforeImages(Value):
    """Where the before-images of one table are, and what they were when they were kept."""

    relation: TableName
    digest: ImagesDigest


class ValuesBack(Value):
    """A table whose dropped columns came back: `rows` got their values of T; `content`: of all its rows afterwards.

    Of each row its key, where it has one, and the columns that came back.
    """

    rows: int
    content: Fingerprint


class Loaded(Value):
    """What one committed load did. Journalled before the commit; its ids tell afterwards whether it happened.

    `xids`: of one transaction, or of the batches of a paced load. `partial`: one batch of it, the next one follows.
    `rows`: tables loaded whole, by the first of them. `written`, `skipped`: tables repaired row by row, from the change
    set `number`. `set_aside`: table → rows at T that were planned and left out at the last moment; `not_deleted`: those
    that T does not have, and that were to be deleted.
    `changes_digest`, `columns`: of that change set, and of its tables when they were compared. `images`: table → where
    its before-images are.
    `by_event_triggers`: rows that event triggers wrote because of our definitions (stages, triggers held back).
    `indexes_built`: those that were built from the rows. `written_by`: table that was swapped in → the transaction that
    wrote its rows, before the one that made them visible. `values_back`: tables that got dropped columns back,
    and `hanging`: what hangs on these; `differing`: what could not be made as it was at T.
    """

    xids: tuple[int, ...]
    partial: bool = False
    rows: dict[str, int]
    touched: dict[str, int]
    definitions: str
    sequence_moves: tuple[SequenceMove, ...]
    foreign_keys_checked: int
    seconds_locked: float
    number: int | None = None
    written: dict[str, WrittenRows] = {}
    skipped: int = 0
    set_aside: dict[str, tuple[Reason, ...]] = {}
    not_deleted: dict[str, tuple[Reason, ...]] = {}
    large_objects: int = 0
    changes_digest: str = ""
    columns: ColumnNumbers = {}
    images: dict[str, BeforeImages] = {}
    by_event_triggers: dict[str, int] = {}
    indexes_built: int = 0
    written_by: dict[str, int] = {}
    values_back: dict[str, ValuesBack] = {}
    hanging: dict[str, tuple[str, ...]] = {}
    differing: tuple[str, ...] = ()

    def writers_of(self, table: TableName) -> tuple[int, ...]:
        """The transactions whose id the rows of a table carry that was loaded whole."""
        writer = self.written_by.get(str(table))
        return self.xids if writer is None else (writer,)


class AtTarget(Value):
    """What the copy holds: the truth to reproduce. `fingerprints`: of the tables loaded whole."""

    fingerprints: dict[str, Fingerprint]
    sequences: tuple[Counter, ...]
    oldest_version_num: int


@dataclass(frozen=True)
class Repair:
    """Rows to write one by one: the change set with its number and digest, where their before-images go.

    `lifted`: the NOT VALID constraints that are away meanwhile; `columns`: those that were compared, by their numbers.
    """

    changes: ChangeSet
    number: int
    schema: str
    lifted: tuple[LiftedConstraint, ...] = ()
    digest: str = ""
    columns: ColumnNumbers = field(default_factory=dict)

    @property
    def alone_on(self) -> list[TableName]:
        """The tables on which that needs a lock against readers as well."""
        ends = (table for lifted in self.lifted for table in (lifted.table, lifted.parent) if table)
        return list(dict.fromkeys(ends))


@dataclass(frozen=True)
class DroppedIndexes:
    """Non-unique indexes that were dropped before the load; `schema` keeps their statements until they are built."""

    schema: str
    indexes: Sequence[PlainIndex]


@dataclass(frozen=True)
class Job:
    """Everything the load needs to know beforehand; `catalog` is the original's, read just now.

    `copy`: opens the copy once, for large objects (where rows may point to them: `large_objects`) and for
    values that no text can carry.
    `say`: called with what the load waits for. `refused`: called with a table whose rows the server refused.
    `all_or_nothing`: a row that cannot be written ends the load instead of being set aside. `whole_database`: sequences
    that stand by themselves belong to the scope. `selection`: what of the change set is written. `dropped_indexes`: of
    tables loaded whole, to be built after their rows. `builders`: sessions that build indexes and check keys at once.
    """

    database: str
    catalog: Catalog
    fills: Sequence[Pair]
    truth: AtTarget
    held_triggers: tuple[Trigger, ...]
    lock_timeout_ms: int
    lock_attempts: int
    repair: Repair | None = None
    copy: Callable[[], Session] | None = None
    large_objects: bool = True
    all_or_nothing: bool = False
    refused: Callable[[TableName], None] = lambda table: None
    say: Callable[[str], None] = lambda text: None
    whole_database: bool = True
    selection: Selection = Selection.EVERYTHING
    dropped_indexes: DroppedIndexes | None = None
    builders: int = 2

    @property
    def filled(self) -> list[TableName]:
        """Tables loaded whole."""
        return [pair.name for pair in self.fills]

    def rows_to_fill(self, name: TableName) -> int:
        """Rows at T of a table loaded whole into its own place."""
        fingerprint = self.truth.fingerprints.get(str(name))
        return fingerprint.rows if fingerprint else 0
