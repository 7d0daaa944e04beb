"""A random small schema with rows and an incident, drawn from a seed; rows are read by SQL of our own.

Every row has a number `n` that no statement changes: it names the row for the oracle whatever its key looks like. Odd
numbers are quiet: only the incident and rowback write them. Even ones belong to the writers.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from tests.properties.worlds import KEY_COLUMNS, KEYS

Row = tuple[Any, ...]
Connection = psycopg.Connection[Any]
NAMES = ("t", "Weird Name; --", "select", "Ünï; drop", "quo\"te'd", "100%s", "line\nbreak", "UPPER", "a.b")
SCHEMAS = ("public", "public", "s; x")
BAD = "bad"


@dataclass(frozen=True)
class Table:
    """One table. `key`: kind of its key (None: no key); `parent`: number of the table that it references."""

    no: int
    name: str
    schema: str
    key: str | None
    parent: int | None
    on_delete: str
    rows: int
    unique: bool
    trigger: bool

    @property
    def identifier(self) -> sql.Identifier:
        """Its qualified, quoted name."""
        return sql.Identifier(self.schema, self.name)

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The names of its key's columns, unquoted."""
        if self.key is None:
            return ()
        return tuple(name.strip('"') for name in KEY_COLUMNS.get(self.key, ("id",)))

    def key_of(self, n: int) -> Row:
        """The key of row `n`."""
        make = KEYS[self.key][1] if self.key else None
        return make(n) if make else ()


@dataclass(frozen=True)
class Incident:
    """What goes wrong, in one transaction: kind, table, and which rows (`n % modulo = rest`)."""

    kind: str
    table: int
    modulo: int
    rest: int


@dataclass(frozen=True)
class World:
    """Tables, parents before children, and the incident."""

    tables: tuple[Table, ...]
    incident: Incident

    def children(self, no: int) -> list[Table]:
        """The tables that reference one."""
        return [table for table in self.tables if table.parent == no]

    def columns(self, table: Table) -> list[str]:
        """All columns in order."""
        links = (
            [f"p{i}" for i, _ in enumerate(self.tables[table.parent].key_columns)] if table.parent is not None else []
        )
        return [*table.key_columns, *links, "n", "val", "name", "code", "w"]

    def at(self, table: Table, column: str) -> int:
        """The position of a column."""
        return self.columns(table).index(column)


def draw(rng: random.Random, *, names: Sequence[str] = NAMES, most_rows: int = 40) -> World:
    """One to three tables and an incident."""
    count, schema, tables = rng.choice([1, 2, 2, 3]), rng.choice(SCHEMAS), list[Table]()
    chosen = rng.sample(names, count)
    for no in range(count):
        keyed = [table.no for table in tables if table.key]
        parent = rng.choice([*keyed, None]) if keyed and rng.random() < 0.9 else None
        key = rng.choice(sorted(KEYS)) if no == 0 or rng.random() < 0.8 else None
        on_delete = rng.choice(["cascade", "set null", "no action"])
        rows = rng.randint(0 if rng.random() < 0.05 else 4, most_rows)
        tables.append(
            Table(no, chosen[no], schema, key, parent, on_delete, rows, rng.random() < 0.3, rng.random() < 0.3)
        )
    kinds = ["truncate", "delete", "delete", "update", "update and delete"]
    incident = Incident(rng.choice(kinds), rng.randrange(count), modulo := rng.randint(1, 4), rng.randrange(modulo))
    return World(tuple(tables), incident)


def build(app: Connection, world: World) -> None:
    """The world as it is at T."""
    app.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(world.tables[0].schema)))
    for table in world.tables:
        _create(app, world, table)
        parent = world.tables[table.parent] if table.parent is not None else None
        rows = [
            _values(world, table, (n, n % parent.rows if parent and parent.rows and n % 7 else None, "app"), "name")
            for n in range(table.rows)
        ]
        if rows:
            into = sql.SQL("insert into {} values {}")
            app.execute(into.format(table.identifier, sql.SQL(", ").join(rows)))


def _create(app: Connection, world: World, table: Table) -> None:
    defined = [str(KEYS[table.key][0])] if table.key else []
    if table.parent is not None:
        parent = world.tables[table.parent]
        kinds = [part.rsplit(" ", 1)[1] for part in str(KEYS[parent.key or "int"][0]).split(", ")]
        defined += [f"p{i} {kind}" for i, kind in enumerate(kinds)]
    unique = " unique" if table.unique and table.key else ""
    defined += ["n int not null", "val numeric", "name text", f"code text{unique}", "w text not null"]
    parts: list[sql.Composable] = [sql.SQL(part) for part in defined]
    if table.key:
        parts.append(sql.SQL("primary key ({})").format(_names(table.key_columns)))
    app.execute(sql.SQL("create table {} ({})").format(table.identifier, sql.SQL(", ").join(parts)))
    if table.parent is not None:
        parent = world.tables[table.parent]
        links = [f"p{i}" for i, _ in enumerate(parent.key_columns)]
        app.execute(
            sql.SQL("alter table {} add foreign key ({}) references {} ({}) on delete {}").format(
                table.identifier,
                _names(links),
                parent.identifier,
                _names(parent.key_columns),
                sql.SQL(table.on_delete),
            )
        )
    if table.trigger:
        app.execute(
            "create or replace function public.stamp() returns trigger language plpgsql as"
            " $$ begin new.name := coalesce(new.name, 'none'); return new; end $$"
        )
        app.execute(
            sql.SQL(
                "create trigger stamp before insert or update on {} for each row execute function public.stamp()"
            ).format(table.identifier)
        )


def insert(app: Connection, world: World, table: Table, row: tuple[int, int | None, str], *, name: str = "name") -> Row:
    """Insert row `n` that references its parent's row, written by somebody; returns it. Raises what the schema says."""
    into = sql.SQL("insert into {} values {} returning *")
    found = app.execute(into.format(table.identifier, _values(world, table, row, name))).fetchone()
    assert found is not None
    return plain(found)


def _values(world: World, table: Table, row: tuple[int, int | None, str], name: str) -> sql.Composed:
    n, link, who = row
    values: list[Any] = [*table.key_of(n)]
    if table.parent is not None:
        parent = world.tables[table.parent]
        values += parent.key_of(link) if link is not None else [None] * len(parent.key_columns)
    code = f"{name} code {n}" if n % 4 else None
    values += [n, n * 1.5, f"{name} {n}", code, who]
    return sql.SQL("({})").format(sql.SQL(", ").join(map(sql.Literal, values)))


def strike(app: Connection, world: World) -> int:
    """The incident; returns the transaction id that its rows carry."""
    incident, table = world.incident, world.tables[world.incident.table]
    fits = sql.SQL("n % {} = {}").format(sql.Literal(incident.modulo), sql.Literal(incident.rest))
    with app.transaction():
        row = app.execute("select pg_current_xact_id()::text::bigint % 4294967296").fetchone()
        if incident.kind == "truncate":
            app.execute(sql.SQL("truncate {} cascade").format(table.identifier))
        if incident.kind.startswith("update"):
            app.execute(
                sql.SQL("update {} set val = 0, name = {bad}, w = {bad} where {}").format(
                    table.identifier, fits, bad=sql.Literal(BAD)
                )
            )
        if incident.kind.endswith("delete"):
            _delete(app, world, table, fits if incident.kind == "delete" else sql.SQL("n % 5 = 1"))
    assert row
    return int(row[0])


def _delete(app: Connection, world: World, table: Table, fits: sql.Composable) -> None:
    """Rows with everything that stands in the way of their deletion."""
    _clear_way(app, world, table, fits)
    app.execute(sql.SQL("delete from {} where {}").format(table.identifier, fits))


def _clear_way(app: Connection, world: World, table: Table, fits: sql.Composable) -> None:
    """Delete what keeps rows from being deleted, also where it refers to rows that a cascade takes along."""
    for child in world.children(table.no):
        joined = sql.SQL("({}) in (select {} from {} where {})").format(
            _names([f"p{i}" for i, _ in enumerate(table.key_columns)]),
            _names(table.key_columns),
            table.identifier,
            fits,
        )
        if child.on_delete == "no action":
            _delete(app, world, child, joined)
        elif child.on_delete == "cascade":
            _clear_way(app, world, child, joined)


@dataclass(frozen=True)
class Snapshot:
    """Rows of every table by number, and of tables without a key as a multiset; in one transaction."""

    keyed: tuple[dict[int, Row], ...]
    loose: tuple[Counter[Row], ...]
    digest: str


def read(app: Connection, world: World) -> Snapshot:
    """What a database holds now."""
    keyed: list[dict[int, Row]] = []
    loose: list[Counter[Row]] = []
    with app.transaction():
        app.execute("set transaction isolation level repeatable read read only")
        for table in world.tables:
            rows = [plain(row) for row in app.execute(sql.SQL("select * from {}").format(table.identifier))]
            at = world.at(table, "n")
            keyed.append({row[at]: row for row in rows} if table.key else {})
            loose.append(Counter() if table.key else Counter(rows))
            assert not table.key or len(keyed[-1]) == len(rows), "a row number twice"
        digest = app.execute(quiet_digest(world)).fetchone()
    assert digest
    return Snapshot(tuple(keyed), tuple(loose), str(digest[0]))


def quiet_digest(world: World) -> sql.Composed:
    """One checksum of all rows that nobody but the incident and rowback writes, of every table at once."""
    parts = [
        sql.SQL("select {} || x::text r from {} x where n % 2 = 1").format(
            sql.Literal(f"{table.no}:"), table.identifier
        )
        for table in world.tables
    ]
    whole = sql.SQL(" union all ").join(parts)
    return sql.SQL("select md5(coalesce(string_agg(r, '|' order by r), '')) from ({}) q").format(whole)


def plain(row: Row) -> Row:
    """A row with values that compare and travel between processes."""
    return tuple(str(value) if type(value).__name__ == "UUID" else value for value in row)


def _names(names: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))
