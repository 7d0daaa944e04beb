"""What a database's catalog says, as far as a recovery needs it."""

from __future__ import annotations

from typing import Literal

from recovery.model.values import TableName, Value


class Column(Value):
    """A live column. `type_name` is format_type()'s text; `generated` ones cannot be written.

    `number` is attnum: a rename keeps it. `identity`: GENERATED ALWAYS (a) or BY DEFAULT (d). `equality`: schema and
    name of the type's own equality, which lies outside pg_catalog for types of extensions.
    """

    name: str
    type_name: str
    type_oid: int
    base_type: str
    generated: bool
    number: int = 0
    not_null: bool = False
    has_default: bool = False
    identity: Literal["", "a", "d"] = ""
    equality: tuple[str, str] = ("pg_catalog", "=")


class Trigger(Value):
    """A user trigger with its tgenabled state (O, D, R or A)."""

    table: TableName
    name: str
    state: str


class Table(Value):
    """A relation that holds rows itself (ordinary tables and partitions, never partitioned parents).

    `key`: columns that tell its rows apart (primary key, else a unique index over NOT NULL columns); none: no key.
    `partition_key`: columns of the parents' partition keys, when it is a partition.
    """

    name: TableName
    oid: int
    columns: tuple[Column, ...]
    bytes: int
    unlogged: bool
    row_security: bool
    owned: bool
    readable: bool
    insertable: bool
    key: tuple[str, ...] = ()
    partition_key: tuple[str, ...] = ()
    inherits: tuple[TableName, ...] = ()
    triggers: tuple[Trigger, ...] = ()


class Partitioned(Value):
    """A partitioned table and the leaf tables that hold its rows."""

    name: TableName
    leaves: tuple[TableName, ...]


class ForeignKey(Value):
    """`child(columns) references parent(parent_columns)`; `parent_tables` are the ones that hold the parent's rows.

    `operators`: schema and name of the equality each column is compared with, which need not be pg_catalog's.
    """

    name: str
    child: TableName
    columns: tuple[str, ...]
    parent: TableName
    parent_tables: tuple[TableName, ...]
    parent_columns: tuple[str, ...]
    operators: tuple[tuple[str, str], ...]
    deferrable: bool
    full_match: bool = False
    validated: bool = True


class Sequence(Value):
    """A sequence used by a table's column, and where it stands. `last_value` is None before its first use.

    `integers`: the column is of an integer type, so its values are the sequence's.
    """

    name: TableName
    table: TableName
    column: str
    last_value: int | None
    increment: int
    minimum: int
    maximum: int
    integers: bool


class Catalog(Value):
    """One database's tables, foreign keys and sequences, ordered by name."""

    tables: tuple[Table, ...]
    partitioned: tuple[Partitioned, ...]
    foreign_keys: tuple[ForeignKey, ...]
    sequences: tuple[Sequence, ...]

    def table(self, name: TableName) -> Table | None:
        """The table of that name."""
        return next((table for table in self.tables if table.name == name), None)


class Identity(Value):
    """Which database on which server this is: survives renames, aliases and tunnels."""

    system_identifier: str
    database_oid: int
    database: str
    server_version_num: int
    started_at: str
