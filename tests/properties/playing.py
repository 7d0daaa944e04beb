"""Build a world, live in it, look at it, and let another database subscribe to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import psycopg
from hypothesis import event

from tests.fix_lab import Database, wait_until
from tests.properties.worlds import LOOSE_CHECK, State, World, schema

TABLES = ("parent", '"Child; --"', "loose")


def build(app: psycopg.Connection[Any], world: World) -> None:
    """The world as it is at T."""
    for statement in schema(world):
        app.execute(statement)
    marks = ", ".join(["%s"] * len(world.key_columns))
    nulls = ", ".join(["null"] * len(world.key_columns))
    for n in range(world.parents):
        app.execute(
            f"insert into parent values ({marks}, %s, %s, %s, {nulls}, 'app')",
            (*world.key_of(n), f"name {n}", f"code {n}" if n % 4 else None, n * 1.5),
        )
    for n, parent in world.children.items():
        link = (
            world.key_of(parent) if parent is not None and parent < world.parents else (None,) * len(world.key_columns)
        )
        row = (n, "ab"[n % 2], *link, f"t{n}", "app")
        app.execute(f'insert into "Child; --" values (%s, %s, {marks}, %s, %s)', row)
    friends = ", ".join(f"f{i} = %s" for i in range(len(world.key_columns)))
    for n, friend in world.friends.items():
        if friend < world.parents:
            app.execute(f"update parent set {friends} where {_is(world)}", (*world.key_of(friend), *world.key_of(n)))
    app.execute("insert into loose select 1 + g % 3, 'x' from generate_series(1, 5) g")
    if world.checked:
        app.execute(LOOSE_CHECK)


def live_on(database: Database, world: World) -> int:
    """Good writes, the incident with one good transaction open across it, good writes. Returns the incident's xid."""
    with database.connect() as app, database.connect() as other:
        for what, n in world.good_before:
            good(app, world, what, n)
        during = world.good_during and world.bad != "truncate"
        with app.transaction():
            row = app.execute("select pg_current_xact_id()::text::bigint % 4294967296").fetchone()
            if during:
                # Rows the incident leaves alone: a different remainder.
                other.execute("begin")
                during_row = (900, "a", "during", "app")
                other.execute('insert into "Child; --" (n, region, "t", w) values (%s, %s, %s, %s)', during_row)
            app.execute("set local world.incident = 'on'")
            with app.transaction() if world.savepoint else nullcontext():
                bad(app, world)
            if during:
                other.execute("commit")
        for what, n in world.good_after:
            good(app, world, what, n + 100 if what == "insert" else n)
        assert row
        return int(row[0])


def bad(app: psycopg.Connection[Any], world: World) -> None:
    first = "abs(hashtext(row(parent.id)::text))"
    fits = f"{first} % {world.bad_modulo} = 0"
    match world.bad:
        case "delete":
            if world.action == "no action":
                app.execute(f'delete from "Child; --" c using parent where {fits} and ({_joined(world)})')
            app.execute(f"delete from parent where {fits}")
        case "delete-children":
            app.execute(f'delete from "Child; --" where n % {world.bad_modulo} = 0')
        case "truncate":
            app.execute("truncate parent cascade")
        case "update-children":
            links = ", ".join(f"p{i} = null" for i in range(len(world.key_columns)))
            app.execute(f"""update "Child; --" set {links}, "t" = 'bad', w = 'bad' where n % {world.bad_modulo} = 0""")
        case "update-loose":
            app.execute(f"update loose set b = 'bad' where a <= {world.bad_modulo}")
        case "delete-loose":
            app.execute(f"delete from loose where a <= {world.bad_modulo}")
        case update:
            app.execute(f"update parent set {UPDATES[update]}, w = 'bad' where {fits}")


UPDATES = {
    "update": "val = 0",
    "update-each": "val = val * 2 + 1, code = code || '!'",
    "update-codes": "code = 'gone ' || code, name = null",
}


def good(app: psycopg.Connection[Any], world: World, what: str, n: int) -> None:
    """One good transaction; what the schema refuses did not happen."""
    if what == "child-move" and not world.split:
        return  # of one table it would be an update of a column that the incident leaves alone
    key, marks = world.key_of(n), ", ".join(["%s"] * len(world.key_columns))
    nulls = ", ".join(["null"] * len(world.key_columns))
    new = f"insert into parent values ({marks}, %s, %s, %s, {nulls}, 'app')"
    statements: dict[str, tuple[str, tuple[Any, ...]]] = {
        "update": (f"update parent set val = val + 100, w = 'app' where {_is(world)}", key),
        "rename": (f"update parent set name = 'good name', w = 'app' where {_is(world)}", key),
        "insert": (new, (*key, f"new {n}", f"code {n % 100}", 7)),
        "reinsert": (new.replace("'app'", "'app again'"), (*key, f"another {n}", f"another {n}", 9000 + n)),
        "delete": (f"delete from parent where {_is(world)}", key),
        "child": (f'insert into "Child; --" values (%s, %s, {marks}, %s, %s)', (500 + n, "a", *key, "new", "app")),
        "child-update": ("""update "Child; --" set "t" = 'good', w = 'app' where n = %s""", (n,)),
        "child-move": (
            """update "Child; --" set region = case region when 'a' then 'b' else 'a' end, w = 'app' where n = %s""",
            (n,),
        ),
        "loose": ("insert into loose values (9, 'new')", ()),
        "child-delete": ('delete from "Child; --" where n = %s', (n,)),
    }
    try:
        app.execute(*statements[what])
    except psycopg.IntegrityError:
        event("refused by the schema")


class Subscriber:
    """A database that subscribes to all tables of a world's."""

    def __init__(self, publisher: psycopg.Connection[Any], there: psycopg.Connection[Any]) -> None:
        self.publisher, self.there = publisher, there

    def follows(self) -> None:
        """It comes to hold the same rows, and met nothing that it could not apply."""
        wait_until(lambda: self._rows(self.there) == self._rows(self.publisher), "the subscriber has all rows")
        ((errors,),) = self.there.execute(
            "select coalesce(sum(apply_error_count + sync_error_count), 0) from pg_stat_subscription_stats s"
            " join pg_subscription p on p.oid = s.subid join pg_database d on d.oid = p.subdbid"
            " where d.datname = current_database()"
        )
        assert errors == 0

    @staticmethod
    def _rows(where: psycopg.Connection[Any]) -> list[list[Any]]:
        return [where.execute(f"select t::text from {table} t order by 1").fetchall() for table in TABLES]


@contextmanager
def subscribed(database: Database) -> Iterator[Subscriber]:
    """Another database that holds the same rows and subscribes to every table, until the end."""
    cluster = database.live.lab.engine.instances[database.live.identifier].cluster
    name = f"{database.name}_sub"
    with psycopg.connect(cluster.dsn("postgres"), autocommit=True) as server:
        server.execute(f"create database {name} template {database.name}")
        with (
            psycopg.connect(cluster.dsn(database.name), autocommit=True) as publisher,
            psycopg.connect(cluster.dsn(name), autocommit=True) as there,
        ):
            publisher.execute("create publication everything for all tables")
            publisher.execute(f"select pg_create_logical_replication_slot('{name}', 'pgoutput')")
            there.execute(
                f"create subscription {name} connection '{cluster.dsn(database.name)}' publication everything"
                f" with (create_slot = false, copy_data = false, slot_name = '{name}')"
            )
            try:
                yield Subscriber(publisher, there)
            finally:
                there.execute(f"drop subscription {name}")
        server.execute(f"drop database {name} with (force)")


def state(database: Database, world: World, *, schema: str = "public") -> State:
    """What it holds now, read by SQL of our own."""
    keys = ", ".join(world.key_columns)
    width = len(world.key_columns)
    with database.connect() as app:
        parents = app.execute(f"select * from {schema}.parent order by {keys}").fetchall()
        # what stands beside has no root
        leaves = ("child_a", "child_rest") if world.split and schema != "public" else ('"Child; --"',)
        children = [row for leaf in leaves for row in app.execute(f"select * from {schema}.{leaf}").fetchall()]
        loose = app.execute(f"select * from {schema}.loose").fetchall()
    return State(
        {_plain(row)[:width]: _plain(row) for row in parents},
        {_plain(row)[: world.child_key]: _plain(row) for row in children},
        sorted(loose),
    )


def _plain(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(str(value) if type(value).__name__ == "UUID" else value for value in row)


def _is(world: World) -> str:
    return " and ".join(f"{column} = %s" for column in world.key_columns)


def _joined(world: World) -> str:
    return " and ".join(f"c.p{i} = parent.{column}" for i, column in enumerate(world.key_columns))
