"""For every mode the end state equals the oracle's, whatever the schema, the incident and the good writes around it.

The copy is made by CREATE DATABASE … TEMPLATE at T: a physical copy with the same transaction ids, as a point-in-time
restore is, in milliseconds. Real restores are the subject of tests/scenarios.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, event, given, settings

from recovery.compare.changes import ChangeSet
from recovery.compare.repair import Inquiry, make_repair_plan
from recovery.model.catalog import Catalog
from recovery.model.plan import PlannedTable, Why
from recovery.model.repair import Mode, Pace, RepairPlan, RepairRequest
from recovery.postgres.beside import beside_name, create_beside, plain
from recovery.postgres.catalog import read_catalog
from recovery.postgres.connect import Session, connect
from recovery.postgres.fingerprint import fingerprint
from recovery.postgres.rows import CopyTransport, Pair
from recovery.reload.load import AtTarget, Job, Loaded, Repair, load
from recovery.reload.pacing import Watch, load_paced
from recovery.reload.undo import invert, plan_undo
from recovery.reload.verify import verify
from runbooks.lab.server import Lab
from tests.fix_lab import Database, Live, start_instance
from tests.properties.worlds import State, World, expected, schema, worlds
from tests.server.test_load import plan_for

pytestmark = [pytest.mark.worlds, pytest.mark.timeout(0)]  # one test is many worlds

_numbers = itertools.count(1)
EXAMPLES = int(os.environ.get("ROWBACK_EXAMPLES", "100"))
CHECK = settings(
    max_examples=EXAMPLES, deadline=None, derandomize="ROWBACK_SOAK" not in os.environ, database=None,
    phases=[Phase.generate],  # a failing world is small already, and shrinking one takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip


def unnoted(done: Loaded) -> None:
    """No journal here."""


PACE, QUIET = Pace(wal_bytes_per_s=2**30), Watch(unnoted, unnoted, lambda text, seconds: None)


@pytest.fixture(scope="module")
def live15(lab15: Lab) -> Live:
    return start_instance(lab15)


@given(world=worlds())
@CHECK
def test_every_mode_ends_as_the_oracle_says(live: Live, tmp_path: Path, world: World) -> None:
    play(live, tmp_path, world)


@pytest.mark.pg15
@given(world=worlds())
@CHECK
def test_every_mode_ends_as_the_oracle_says_on_15(live15: Live, tmp_path: Path, world: World) -> None:
    play(live15, tmp_path, world)


def play(live: Live, tmp_path: Path, world: World) -> None:
    number = next(_numbers)
    now, then = Database(live, f"world{number}"), Database(live, f"world{number}_t")
    with live.connect() as server:
        server.execute(f"create database {now.name}")
        try:
            with now.connect() as app, app.transaction():
                build(app, world)
            boundary = server.execute("select pg_current_xact_id()::text::bigint").fetchone()
            server.execute(f"create database {then.name} template {now.name}")
            xid = live_on(now, world)
            assert boundary
            check(now, then, tmp_path / f"{number}", world, xid, boundary[0])
        finally:
            server.execute(f"drop database if exists {now.name} with (force)")
            server.execute(f"drop database if exists {then.name} with (force)")


def build(app: psycopg.Connection[Any], world: World) -> None:
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
        app.execute(f'insert into "Child; --" values (%s, {marks}, %s, %s)', (n, *link, f"t{n}", "app"))
    friends = ", ".join(f"f{i} = %s" for i in range(len(world.key_columns)))
    for n, friend in world.friends.items():
        if friend < world.parents:
            app.execute(f"update parent set {friends} where {_is(world)}", (*world.key_of(friend), *world.key_of(n)))
    app.execute("insert into loose select 1 + g % 3, 'x' from generate_series(1, 5) g")


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
                other.execute('insert into "Child; --" (n, "t", w) values (%s, %s, %s)', (900, "during", "app"))
            app.execute("set local world.incident = 'on'")
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
        case update:
            app.execute(f"update parent set {UPDATES[update]}, w = 'bad' where {fits}")


UPDATES = {
    "update": "val = 0", "update-each": "val = val * 2 + 1, code = code || '!'",
    "update-codes": "code = 'gone ' || code, name = null",
}  # fmt: skip


def good(app: psycopg.Connection[Any], world: World, what: str, n: int) -> None:
    """One good transaction; what the schema refuses did not happen."""
    key, marks = world.key_of(n), ", ".join(["%s"] * len(world.key_columns))
    nulls = ", ".join(["null"] * len(world.key_columns))
    new = f"insert into parent values ({marks}, %s, %s, %s, {nulls}, 'app')"
    statements: dict[str, tuple[str, tuple[Any, ...]]] = {
        "update": (f"update parent set val = val + 100, w = 'app' where {_is(world)}", key),
        "rename": (f"update parent set name = 'good name', w = 'app' where {_is(world)}", key),
        "insert": (new, (*key, f"new {n}", f"code {n % 100}", 7)),
        "reinsert": (new.replace("'app'", "'app again'"), (*key, f"another {n}", f"another {n}", 9000 + n)),
        "delete": (f"delete from parent where {_is(world)}", key),
        "child": (f'insert into "Child; --" values (%s, {marks}, %s, %s)', (500 + n, *key, "new", "app")),
        "child-update": ("""update "Child; --" set "t" = 'good', w = 'app' where n = %s""", (n,)),
        "child-delete": ('delete from "Child; --" where n = %s', (n,)),
    }
    try:
        app.execute(*statements[what])
    except psycopg.IntegrityError:
        event("refused by the schema")


def check(now: Database, then: Database, home: Path, world: World, xid: int, boundary: int) -> None:
    home.mkdir()
    at_target, before = state(then, world), state(now, world)
    wanted = expected(world, at_target, before)
    with connect(now.target()) as live, connect(then.target()) as copy:
        catalog = read_catalog(live)
        with ChangeSet(home / "1.sqlite") as changes:
            if world.mode is Mode.BESIDE:
                beside(now, live, copy, world, (at_target, before))
                return
            plan = planned(live, copy, catalog, world, xid, boundary, changes)
            if not plan.writes:
                event(f"{world.mode}: nothing to write")
                assert before == wanted
                accounts(plan, None, at_target, (before, before))
                return
            event(f"{world.mode}: {world.bad}")
            job = job_of(live, catalog, plan, changes, copy)
            done = (
                load_paced(live, job, None, PACE, earlier=[], watch=QUIET)
                if world.paced
                else load(live, job, None, before_commit=unnoted)
            )
            assert state(now, world) == wanted, world
            accounts(plan, done, at_target, (before, wanted))
            assert verify(live, job, done).proven
            assert done.skipped == 0
            undo_and_redo(now, live, catalog, world, home, done, changes, (before, wanted))


def accounts(plan: RepairPlan, done: Loaded | None, then: State, ends: tuple[State, State]) -> None:
    """Every row at T is in one class, and the classes are what the rows themselves say: `ends` before and after."""
    for table in plan.tables:
        rows = {"public.parent": "parent", 'public."Child; --"': "child"}.get(str(table.name))
        if rows is None:
            continue
        held, before, after = (getattr(each, rows) for each in (then, *ends))
        account = table.account.without(done.set_aside.get(str(table.name), ()) if done else ())
        assert account.balanced
        assert account.at_target == len(held)
        assert account.never_gone == sum(before.get(key) == row for key, row in held.items())
        assert account.back == sum(before.get(key) != row == after.get(key) for key, row in held.items())
        assert account.kept_newer + account.not_back == sum(after.get(key) != row for key, row in held.items())


def beside(now: Database, live: Session, copy: Session, world: World, ends: tuple[State, State]) -> None:
    """What T held stands beside what there is now, which nobody touched; undo empties it again."""
    event(f"beside: {world.bad}")
    tables = [table for table in read_catalog(copy).tables if table.name.schema_name == "public"]
    create_beside(live, "x", tables)
    then = [plain(table) for table in tables]
    pairs = [Pair(t, t.model_copy(update={"name": beside_name("x", t.name)})) for t in then]
    version = live.info.server_version
    prints = {str(p.name): fingerprint(copy, p.at_target, oldest_version_num=version) for p in pairs}
    truth = AtTarget(fingerprints=prints, sequences=(), oldest_version_num=version)
    job = Job("world", read_catalog(live), pairs, truth, (), 2000, 3)
    if not any(found.rows for found in prints.values()):
        event("beside: T was empty")
        return
    done = load(live, job, CopyTransport(copy), before_commit=unnoted)
    assert verify(live, job, done).proven
    assert state(now, world) == ends[1]
    assert state(now, world, schema="recovered_x") == ends[0]


def undo_and_redo(  # noqa: PLR0917
    now: Database, live: Session, catalog: Catalog, world: World, home: Path, done: Loaded, changes: ChangeSet,
    ends: tuple[State, State],
) -> None:  # fmt: skip
    """Undo leads back, undo of undo forth again."""
    source = changes
    for number, end in ((2, ends[0]), (3, ends[1])):
        with ChangeSet(home / f"{number}.sqlite") as turned:
            invert(live, catalog, done, source, turned)
            plan = plan_undo(live, catalog, turned, case="case", number=number, request=RepairRequest())
            assert plan.writes == sum(turned_.total for turned_ in done.written.values()), world
            done = load(live, job_of(live, catalog, plan, turned, None), None, before_commit=unnoted)
            assert state(now, world) == end, world
        source = ChangeSet(home / f"{number}.sqlite")


def planned(  # noqa: PLR0917
    live: Session, copy: Session, catalog: Catalog, world: World, xid: int, boundary: int, changes: ChangeSet
) -> RepairPlan:
    tables = tuple(
        PlannedTable(name=t.name, why=Why.WHOLE_DATABASE, because="", bytes_now=0, empty=False) for t in catalog.tables
    )
    plan = plan_for(catalog).model_copy(update={"tables": tables})
    incident = (xid,) if world.mode is Mode.REPAIR else ()
    request = RepairRequest(mode=world.mode, incident_xids=incident)
    inquiry = Inquiry("case", plan, request, [], 1, boundary if world.lineage else None)
    return make_repair_plan(live, copy, inquiry, changes)


def job_of(live: Session, catalog: Catalog, plan: RepairPlan, changes: ChangeSet, copy: Session | None) -> Job:
    sequences = read_catalog(copy).sequences if copy else catalog.sequences
    truth = AtTarget(fingerprints={}, sequences=sequences, oldest_version_num=live.info.server_version)
    return Job("world", catalog, [], truth, plan.held_triggers, 2000, 3, Repair(changes, plan.number, "rowback_case_x"))


def state(database: Database, world: World, *, schema: str = "public") -> State:
    keys = ", ".join(world.key_columns)
    width = len(world.key_columns)
    with database.connect() as app:
        parents = app.execute(f"select * from {schema}.parent order by {keys}").fetchall()
        children = app.execute(f'select * from {schema}."Child; --" order by n').fetchall()
        loose = app.execute(f"select * from {schema}.loose").fetchall()
    return State(
        {_plain(row)[:width]: _plain(row) for row in parents},
        {_plain(row)[:1]: _plain(row) for row in children},
        sorted(loose),
    )


def _plain(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(str(value) if type(value).__name__ == "UUID" else value for value in row)


def _is(world: World) -> str:
    return " and ".join(f"{column} = %s" for column in world.key_columns)


def _joined(world: World) -> str:
    return " and ".join(f"c.p{i} = parent.{column}" for i, column in enumerate(world.key_columns))
