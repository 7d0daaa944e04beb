"""Parts of tables that pg_dump writes into CREATE TABLE: columns, their defaults, checks; and those that are gone."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Literal

from recovery.model.values import TableName, Value


class ColumnPart(Value):
    """A column as the server describes it. `number`: attnum, which a copy shares with its original.

    `unlimited_type`: without its length; `base_type`: below all domains. `default`: of a generated column its
    expression; `uses`: numbers of the columns that it names. `inherited`: a parent brings it. `settings`: what follows
    ALTER COLUMN for storage, compression, statistics and options that are not the type's own. `needs`: oids of what the
    column and its default depend on.
    """

    number: int
    name: str
    type_name: str
    unlimited_type: str
    base_type: str
    collation: str | None = None
    not_null: bool = False
    not_null_name: str | None = None
    default: str | None = None
    uses: tuple[int, ...] = ()
    generated: Literal["", "s", "v"] = ""
    identity: Literal["", "a", "d"] = ""
    inherited: bool = False
    settings: tuple[str, ...] = ()
    needs: tuple[int, ...] = ()

    @property
    def definition(self) -> tuple[object, ...]:
        """What has to be as it was once it is back."""
        facts = (self.type_name, self.collation, self.not_null, self.default)
        return (*facts, self.generated, self.identity, self.settings)


class CheckPart(Value):
    """A CHECK constraint. `definition`: what follows its name; `columns`: the numbers of those that it is about."""

    name: str
    definition: str
    columns: tuple[int, ...] = ()
    inherited: bool = False
    needs: tuple[int, ...] = ()


class TableParts(Value):
    """One table's parts. `facts`: what else CREATE TABLE says of it, such as its options.

    `parents`: oids of what it is a partition of or inherits from. `file_node`: of its file, 0 without one.
    """

    name: TableName
    oid: int
    owner: str
    columns: tuple[ColumnPart, ...]
    checks: tuple[CheckPart, ...]
    facts: tuple[str, ...] = ()
    parents: tuple[int, ...] = ()
    is_partition: bool = False
    is_unlogged: bool = False
    file_node: int = 0

    @property
    def by_number(self) -> dict[int, ColumnPart]:
        """Its columns."""
        return {column.number: column for column in self.columns}


class KeyColumn(Value):
    """A column that tells rows apart: its names now and at T, its type at T, schema and name of its equality.

    `cast`: the type now, without its length, which would cut keys off; None where it is the same as at T.
    """

    now: str
    at_target: str
    cast: str | None
    type_at_target: str
    equality: tuple[str, str]


class Filling(StrEnum):
    """How rows of a table get the values of its columns back."""

    BY_KEY = "by key"
    BY_PLACE = "by place"  # of a row that was not written since, in a file that is the same
    BY_ROOT = "by root"  # with the table that it is a partition of
    AS_NEW = "as new"  # it was made since T


class LostParts(Value):
    """What a table that is there lost since T, and what tells to which rows its values belong.

    `columns`: dropped, in their order at T. `defaults`: columns that are there and have none any more. `key`: columns
    of today that distinguish its rows, and did at T. `file_node`: by which places in its file are trusted. `at_target`:
    what it was called then. `leaves`: the tables that hold its rows, itself where it is not partitioned.
    """

    table: TableName
    oid: int
    owner: str
    at_target: TableName
    columns: tuple[ColumnPart, ...] = ()
    defaults: tuple[ColumnPart, ...] = ()
    checks: tuple[CheckPart, ...] = ()
    filling: Filling = Filling.BY_ROOT
    key: tuple[KeyColumn, ...] = ()
    file_node: int = 0
    leaves: tuple[TableName, ...] = ()
    partitioned: bool = False

    @property
    def stored(self) -> tuple[ColumnPart, ...]:
        """The columns that hold values."""
        return tuple(column for column in self.columns if not column.generated)

    @property
    def is_staged(self) -> bool:
        """Whether values of it come from the copy."""
        return bool(self.stored) and self.filling in {Filling.BY_KEY, Filling.BY_PLACE}

    @property
    def count(self) -> int:
        """How many parts, those aside that come with a parent."""
        own = [column for column in self.columns if not column.inherited]
        return len(own) + len(self.defaults) + len(self.checks)

    def lines(self) -> list[str]:
        """One for each part, for people."""
        own = [column for column in self.columns if not column.inherited]
        return [
            *(f"column {self.table}.{column.name} ({column.type_name})" for column in own),
            *(f"default of {self.table}.{column.name}" for column in self.defaults),
            *(f"check {check.name} of {self.table}" for check in self.checks),
        ]


def names_of(parts: Sequence[LostParts]) -> list[TableName]:
    """The tables that are altered, and those that hold their rows."""
    return list(dict.fromkeys(name for lost in parts for name in (lost.table, *lost.leaves)))
