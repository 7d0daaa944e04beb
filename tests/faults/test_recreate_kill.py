"""Mode recreate is killed or interrupted at every step, and goes on: nothing is half visible, the end is the same."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from recovery.workflow.case_lifecycle import STEPS
from runbooks.lab.background import pass_a_second
from tests.fix_cli import Cli, restoring, the_case
from tests.fix_lab import Database
from tests.schema_dump import checksum_by_name, definitions, in_any_order

pytestmark = pytest.mark.matrix

AT = "tests.faults.signal_at"
BOUNDARIES = [
    ("case.opened", "-"),
    *((event, step.name) for step in STEPS for event in ("step.start", "step.done")),
    ("repair.approved", "-"),
    ("load.intent", "-"),
    ("verification", "-"),
]
MADE = {("step.done", "load"), ("step.start", "verify"), ("verification", "-"), ("step.done", "verify")}


@dataclass(frozen=True)
class Loss:
    """T, and what the database defined and held before and after the loss."""

    target: datetime
    before: list[str]
    rows: list[list[tuple[Any, ...]]]
    without: list[str]


@pytest.fixture
def loss(database: Database) -> Loss:
    database.run(
        "create schema app",
        "create table app.t (id serial primary key, body text)",
        "insert into app.t (body) select md5(g::text) from generate_series(1, 3000) g",
        "create index on app.t (body)",
        "create table public.child (t int references app.t)",
        "insert into public.child select generate_series(1, 100)",
        "create materialized view public.m as select count(*) from app.t",
        "create table public.kept (id int primary key, note text not null, n int)",
        "insert into public.kept select g, md5(g::text), g from generate_series(1, 2000) g",
    )
    before, rows, target = in_any_order(definitions(database)), content(database), pass_a_second()
    database.run("drop schema app cascade", "alter table public.kept drop column note")
    return Loss(target, before, rows, in_any_order(definitions(database)))


def content(database: Database) -> list[list[tuple[Any, ...]]]:
    return [checksum_by_name(database, table) for table in ("app.t", "public.kept")]


def recreating(cli: Cli, database: Database, loss: Loss) -> list[str]:
    return restoring(cli, database, loss.target, "--mode", "recreate")


def assert_back(cli: Cli, database: Database, loss: Loss) -> None:
    assert in_any_order(definitions(database)) == loss.before
    assert content(database) == loss.rows
    assert database.rows("select * from public.m") == [(3000,)]
    case = the_case(cli)
    assert case["outcome"] == "recovered"
    assert case["copy_instance"] not in cli.live.lab.engine.instances
    home = cli.home / "cases" / case["case"]
    assert sorted(path.name for path in home.iterdir()) == ["definitions-then", "journal.jsonl", "status.html"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize(("event", "step"), BOUNDARIES, ids=lambda value: value)
def test_cut_off_and_resumed(cli: Cli, database: Database, loss: Loss, event: str, step: str, number: int) -> None:
    process = cli.start(signal.Signals(number).name, event, step, *recreating(cli, database, loss), module=AT)
    _, said = process.communicate(timeout=120)
    if process.returncode == 0:  # interrupted behind the last step
        assert (event, step) == ("step.done", "remove-copy")
    now = in_any_order(definitions(database))
    assert now in (loss.before, loss.without), "nothing is half visible"
    assert now == loss.before or (event, step) not in MADE
    case = the_case(cli)
    if case["outcome"] == "open":
        resumed = cli("resume", case["case"])
        if resumed.code == 21:  # cut off before what is to be made was agreed to
            digest = cli("diff", case["case"], "--json").out.split('"digest": "')[1][:8]
            applied = cli("apply", case["case"], digest, "--confirm", database.name)
            assert applied.code == 0, applied.err
            resumed = cli("resume", case["case"])
        assert resumed.code == 0, resumed.err + said
    assert_back(cli, database, loss)


def test_an_undo_that_is_killed_is_finished_or_begun_again(cli: Cli, database: Database, loss: Loss) -> None:
    assert cli(*recreating(cli, database, loss)).code == 0
    case = the_case(cli)["case"]
    for event in ("undo.intent", "undo.done"):
        process = cli.start("SIGKILL", event, "-", "undo", case, "--confirm", database.name, module=AT)
        process.communicate(timeout=60)
        assert in_any_order(definitions(database)) == (loss.before if event == "undo.intent" else loss.without)
    assert cli("verify", case).code == 0
