"""Parts of tables that pg_dump writes into CREATE TABLE: columns, their defaults, checks; and those that are gone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from recovery.model.values import TableName, Value


class ColumnPart(Value):
    """A column as the server describes it. `number`: attnum, which a copy shares with its original.

    `default`: of a generated column its expression. `inherited`: it comes from a parent alone. `settings`: what follows
    ALTER COLUMN for storage, compression, statistics and options that are not the type's own. `needs`: oids of what the
    column and its default depend on.
    """

    number: int
    name: str
    type_name: str
    collation: str | None = None
    not_null: bool = False
    not_null_name: str | None = None
    default: str | None = None
    generated: Literal["", "s", "v"] = ""
    identity: Literal["", "a", "d"] = ""
    inherited: bool = False
    settings: tuple[str, ...] = ()
    needs: tuple[int, ...] = ()

    @property
    def definition(self) -> tuple[object, ...]:
        """What has to be as it was once it is back."""
        facts = (self.type_name, self.collation, self.not_null, self.default)
        return (*facts, self.generated, self.identity, self.settings, self.inherited)


class CheckPart(Value):
    """A CHECK constraint. `definition`: what follows its name; `columns`: the numbers of those that it is about."""

    name: str
    definition: str
    columns: tuple[int, ...] = ()
    inherited: bool = False
    needs: tuple[int, ...] = ()


class TableParts(Value):
    """One table's parts. `facts`: what else CREATE TABLE says of it, such as its options."""

    name: TableName
    oid: int
    owner: str
    columns: tuple[ColumnPart, ...]
    checks: tuple[CheckPart, ...]
    facts: tuple[str, ...] = ()


class KeyColumn(Value):
    """A column that tells rows apart: its names now and at T, its type now, schema and name of its equality."""

    now: str
    at_target: str
    type_name: str
    equality: tuple[str, str]


class LostParts(Value):
    """What a table that is there lost since T, and what tells to which rows its values belong.

    `columns`: dropped, in their order at T. `defaults`: columns that are there and have none any more. `key`: columns
    of today that distinguish its rows, and did at T. Without one, a row that was not written since has kept its
    place in the file, where the table still has the `same_file`. `at_target`: what it was called then. `leaves`: the
    tables that hold its rows, itself where it is not partitioned.
    """

    table: TableName
    oid: int
    owner: str
    at_target: TableName
    columns: tuple[ColumnPart, ...] = ()
    defaults: tuple[ColumnPart, ...] = ()
    checks: tuple[CheckPart, ...] = ()
    key: tuple[KeyColumn, ...] = ()
    leaves: tuple[TableName, ...] = ()
    partitioned: bool = False
    same_file: bool = False

    @property
    def stored(self) -> tuple[ColumnPart, ...]:
        """The columns whose values come from the copy."""
        return tuple(column for column in self.columns if not column.generated)

    @property
    def count(self) -> int:
        """How many parts."""
        return len(self.columns) + len(self.defaults) + len(self.checks)

    def lines(self) -> list[str]:
        """One for each part, for people."""
        return [
            *(f"column {self.table}.{column.name} ({column.type_name})" for column in self.columns),
            *(f"default of {self.table}.{column.name}" for column in self.defaults),
            *(f"check {check.name} of {self.table}" for check in self.checks),
        ]


def names_of(parts: Sequence[LostParts]) -> list[TableName]:
    """The tables that are altered, and those that hold their rows."""
    return list(dict.fromkeys(name for lost in parts for name in (lost.table, *lost.leaves)))
