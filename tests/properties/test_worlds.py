"""For every mode the end state equals the oracle's, whatever the schema, the incident and the good writes around it.

The copy is made by CREATE DATABASE … TEMPLATE at T: a physical copy with the same transaction ids, as a point-in-time
restore is, in milliseconds. Real restores are the subject of tests/scenarios.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, event, given, settings

from recovery.changeset.change_set import ChangeSet
from recovery.compare.inquiry import Inquiry
from recovery.compare.make_repair_plan import make_repair_plan
from recovery.errors import ErrorId, RowbackError
from recovery.model.account import TableAccount
from recovery.model.catalog import Catalog
from recovery.model.modes.reload_mode import Mode
from recovery.model.recovery_plan import PlannedTable, Why
from recovery.model.repair_plan import DetectionMethod, Pace, RepairPlan, RepairRequest
from recovery.postgres.beside_tables import beside_name, create_beside, plain
from recovery.postgres.connect import Session, connect
from recovery.postgres.copy_rows import CopyTransport, Pair
from recovery.postgres.fingerprint import fingerprint
from recovery.postgres.read_catalog import read_catalog
from recovery.reload.load_job import AtTarget, Job, Loaded, Repair
from recovery.reload.load_transaction import load
from recovery.reload.paced_load import LoadListener, load_paced
from recovery.reload.reverse_load import invert, plan_undo
from recovery.reload.verify_after_commit import verify
from recovery.reload.wal_pace import WalPace
from runbooks.lab.lab_server import Lab
from runbooks.lab.lab_state import Parameters
from tests.fix_lab import Database, Live
from tests.fix_plan import plan_for
from tests.fix_repair import number_of
from tests.properties.playing import build, live_on, state, subscribed
from tests.properties.worlds import State, World, expected, worlds

pytestmark = [pytest.mark.worlds, pytest.mark.timeout(0)]  # one test is many worlds

TABLES = {"parent": "parent", "loose": "loose"}
_numbers = itertools.count(1)
EXAMPLES = int(os.environ.get("ROWBACK_EXAMPLES", "100"))
CHECK = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="ROWBACK_SOAK" not in os.environ,
    database=None,
    phases=[Phase.generate],  # a failing world is small already, and shrinking one takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


def unnoted(done: Loaded) -> None:
    """No journal here."""


PACE, QUIET = Pace(wal_bytes_per_s=2**30), LoadListener(unnoted, unnoted)


def logical(lab: Lab) -> Live:
    """An instance with logical replication."""
    family = f"postgres{lab.engine.tools.major}"
    lab.engine.parameters["logical"] = Parameters("logical", family, "logical", {"rds.logical_replication": "1"})
    name = "live-worlds"
    return Live(lab, name, lab.create_instance(name, DBParameterGroupName="logical", PubliclyAccessible=False))


@pytest.fixture(scope="module")
def live(lab: Lab) -> Live:
    return logical(lab)


@pytest.fixture(scope="module")
def live15(lab15: Lab) -> Live:
    return logical(lab15)


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
            assert boundary
            with subscribed(now) if world.subscribed else nullcontext() as subscriber:
                xid = live_on(now, world)
                check(now, then, tmp_path / f"{number}", world, xid, boundary[0])
                if subscriber:
                    event("published")
                    subscriber.follows()
        finally:
            server.execute(f"drop database if exists {now.name} with (force)")
            server.execute(f"drop database if exists {then.name} with (force)")


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
            if plan is None:
                assert not any(row[-1] == "bad" for row in before.parent.values())
                event("the incident wrote nothing in the scope")
                return
            if world.savepoint and world.mode is Mode.REPAIR and unattributed(now, plan):
                # with rows lost as well nothing tells it from the next transaction of somebody else
                event("savepoints that nothing proves")
                assert any("if it worked behind a savepoint" in notice for notice in plan.notices)
                wanted = expected(replace(world, mode=Mode.MISSING), at_target, before)
            if not plan.writes:
                event(f"{world.mode}: nothing to write")
                assert before == wanted
                accounts(plan, None, at_target, (before, before))
                return
            event(f"{world.mode}: {world.bad}")
            job = job_of(live, catalog, plan, changes, copy)
            done = (
                load_paced(live, job, None, WalPace(live, PACE, lambda text, seconds: None), earlier=[], watch=QUIET)
                if world.paced
                else load(live, job, None, before_commit=unnoted)
            )
            assert state(now, world) == wanted, world
            accounts(plan, done, at_target, (before, wanted))
            assert verify(live, job, done).proven
            assert done.skipped == 0
            undo_and_redo(now, live, catalog, world, home, done, changes, (before, wanted))


def unattributed(now: Database, plan: RepairPlan) -> bool:
    """Whether rows that the incident wrote carry an id that the plan does not name."""
    named = {xid % 2**32 for xid in plan.request.incident_xids}
    wrote = {
        int(xid)
        for table in ("parent", '"Child; --"')
        for (xid,) in now.rows(f"select distinct xmin::text from {table} where w = 'bad'")
    } | {int(xid) for (xid,) in now.rows("select distinct xmin::text from loose where b = 'bad'")}
    return bool(wrote - named)


def accounts(plan: RepairPlan, done: Loaded | None, then: State, ends: tuple[State, State]) -> None:
    """Every row at T is in one class, and the classes are what the rows themselves say: `ends` before and after."""
    found: dict[str, list[TableAccount]] = {}
    for table in plan.tables:
        account = table.account.without(done.set_aside.get(str(table.name), ()) if done else ())
        assert account.balanced
        if table.engine is not DetectionMethod.FOLLOWED:  # of those only the rows that others led to are counted
            found.setdefault(TABLES.get(table.name.name, "child"), []).append(account)
    for rows in ("parent", "child"):
        held, before, after = (getattr(each, rows) for each in (then, *ends))
        if tables := found.get(rows):
            assert sum(each.at_target for each in tables) == len(held)
            assert sum(each.never_gone for each in tables) == sum(before.get(key) == row for key, row in held.items())
            back = sum(before.get(key) != row == after.get(key) for key, row in held.items())
            assert sum(each.back for each in tables) == back
            differ = sum(after.get(key) != row for key, row in held.items())
            assert sum(each.kept_newer + each.not_back for each in tables) == differ
    for loose in found.get("loose", ()):
        lost = Counter(then.loose) - Counter(ends[0].loose)
        back = lost - (Counter(then.loose) - Counter(ends[1].loose))
        assert (loose.at_target, loose.back) == (len(then.loose), back.total())
        assert loose.not_back == lost.total() - back.total()


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
    now: Database,
    live: Session,
    catalog: Catalog,
    world: World,
    home: Path,
    done: Loaded,
    changes: ChangeSet,
    ends: tuple[State, State],
) -> None:
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
) -> RepairPlan | None:
    plan = plan_for(catalog).model_copy(update={"tables": tuple(scope(catalog, world))})
    incident = (xid,) if world.mode is Mode.REPAIR else ()
    request = RepairRequest(mode=world.mode, incident_xids=incident)
    inquiry = Inquiry("case", plan, request, [], 1, boundary if world.lineage else None)
    try:
        found = make_repair_plan(live, copy, inquiry, changes)
        if possible := [writer.xid for writer in found.possible_incident]:
            assert world.savepoint, "nobody else is taken for a savepoint"
            event("savepoints are named, and confirmed")
            request = request.model_copy(update={"incident_xids": (*found.request.incident_xids, *possible)})
            changes.clear()
            found = make_repair_plan(live, copy, replace(inquiry, request=request), changes)
    except RowbackError as refused:
        if refused.id is not ErrorId.INCIDENT_UNKNOWN or not (world.named or world.savepoint):
            raise
        return None
    return found


def scope(catalog: Catalog, world: World) -> Iterator[PlannedTable]:
    """Every table, or the parents by name and what hangs on them."""
    for table in catalog.tables:
        why = Why.WHOLE_DATABASE
        if world.named:
            why = Why.NAMED if table.name.name == "parent" else Why.FOLLOWED
        if not (world.named and table.name.name == "loose"):
            yield PlannedTable(name=table.name, why=why, because="", bytes_now=0, empty=False)


def job_of(live: Session, catalog: Catalog, plan: RepairPlan, changes: ChangeSet, copy: Session | None) -> Job:
    sequences = read_catalog(copy).sequences if copy else catalog.sequences
    truth = AtTarget(fingerprints={}, sequences=sequences, oldest_version_num=live.info.server_version)
    return Job(
        "world",
        catalog,
        [],
        truth,
        plan.held_triggers,
        2000,
        3,
        Repair(changes, number_of(plan), "rowback_case_x", plan.lifted),
    )
