"""What a database's catalog says, as far as a recovery needs it."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

from recovery.model.values import TableName, Value


class Column(Value):
    """A live column. `type_name` is format_type()'s text; `generated` ones cannot be written.

    `base_type`: the type below all domains, without its modifier; `value_type`: with it. `number` is attnum: a rename
    keeps it. `identity`: GENERATED ALWAYS (a) or BY DEFAULT (d). `equality`: schema and name of the type's own
    equality, which lies outside pg_catalog for types of extensions. `labels`: oid and text of an enum's labels in
    order, of arrays of one as well.
    """

    name: str
    type_name: str
    type_oid: int
    base_type: str
    generated: bool
    value_type: str = ""
    labels: tuple[tuple[int, str], ...] = ()
    number: int = 0
    not_null: bool = False
    has_default: bool = False
    identity: Literal["", "a", "d"] = ""
    equality: tuple[str, str] = ("pg_catalog", "=")

    @property
    def has_domain(self) -> bool:
        """Whether its type is a domain."""
        return self.type_name != self.value_type


ColumnNumbers = dict[str, dict[str, int]]  # table → column → attnum, by which a renamed or swapped column is known


class Trigger(Value):
    """A user trigger with its tgenabled state (O, D, R or A)."""

    table: TableName
    name: str
    state: str


class RewriteRule(Value):
    """A rule of the query rewriter on INSERT, UPDATE or DELETE, with its ev_enabled state (O, D, R or A)."""

    name: str
    state: str


class Table(Value):
    """A relation that holds rows itself (ordinary tables and partitions, never partitioned parents).

    `key`: columns that tell its rows apart (primary key, else replica identity or another unique index over NOT NULL
    columns); none: no key. `partition_key`: columns of the parents' partition keys, when it is a partition.
    `extension`: the extension that the table is a member of. `rules`: those that are not disabled. `file_node`: of its
    file, which TRUNCATE and rewrites replace.
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
    rules: tuple[RewriteRule, ...] = ()
    extension: str | None = None
    file_node: int = 0


class Partitioned(Value):
    """A partitioned table and the leaf tables that hold its rows.

    `key`: columns of its primary key, which tell a row from every other of all partitions.
    """

    name: TableName
    leaves: tuple[TableName, ...]
    key: tuple[str, ...] = ()


class ForeignKey(Value):
    """`child(columns) references parent(parent_columns)`; `parent_tables` are the ones that hold the parent's rows.

    `operators`: schema and name of the equality each column is compared with, which need not be pg_catalog's.
    `on_delete`: confdeltype: no action (a), restrict (r), cascade (c), set null (n), set default (d).
    """

    name: str
    child: TableName
    columns: tuple[str, ...]
    parent: TableName
    parent_tables: tuple[TableName, ...]
    parent_columns: tuple[str, ...]
    operators: tuple[tuple[str, str], ...]
    deferrable: bool
    validated: bool = True
    on_delete: str = "a"


class Sequence(Value):
    """A sequence and where it stands. `last_value` is None before its first use. `settable`: this role may set it.

    `table`, `column`: the column that owns it or names it in its default; None: it stands by itself, though a trigger
    or the text of a default may use it. `integers`: the column is of an integer type, so its values are the sequence's.
    """

    name: TableName
    table: TableName | None
    column: str | None
    settable: bool = True
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
        return self._by_name.get(name)

    @cached_property
    def _by_name(self) -> dict[TableName, Table]:
        return {table.name: table for table in self.tables}

    @cached_property
    def hidden(self) -> frozenset[TableName]:
        """Tables of which this role sees not all rows, or none."""
        return frozenset(table.name for table in self.tables if table.row_security or not table.readable)

    @property
    def visible_keys(self) -> tuple[ForeignKey, ...]:
        """Foreign keys whose both ends this role can look at."""
        return tuple(key for key in self.foreign_keys if not {key.child, *key.parent_tables} & self.hidden)

    @property
    def hidden_keys(self) -> tuple[ForeignKey, ...]:
        """The other foreign keys: the server alone knows whether they hold."""
        return tuple(key for key in self.foreign_keys if {key.child, *key.parent_tables} & self.hidden)


class DatabaseIdentity(Value):
    """Which database on which server this is: survives renames, aliases and tunnels."""

    system_identifier: str
    database_oid: int
    database: str
    server_version_num: int
    started_at: str
