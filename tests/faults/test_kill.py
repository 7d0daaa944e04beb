"""kill -9 at every record of the journal, then resume: the same proven end, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from recovery.workflow.case_lifecycle import STEPS
from runbooks.lab.background import pass_a_second
from tests.faults.processes import is_stopped
from tests.fix_cli import Cli, restoring, the_case
from tests.fix_lab import Database, wait_until

pytestmark = pytest.mark.matrix

BOUNDARIES = [
    ("case.opened", "-"),
    *((event, step.name) for step in STEPS for event in ("step.start", "step.done")),
    ("dump.started", "-"),
    ("load.intent", "-"),
    ("verification", "-"),
]
AT = "tests.faults.signal_at"
ROWS = 5000
QUERY = "select count(*), md5(string_agg(t::text, '|' order by n)) from t"


@pytest.fixture
def incident(database: Database) -> tuple[datetime, list[tuple[Any, ...]]]:
    database.run(
        "create table t (n serial primary key, body text)",
        f"insert into t (body) select md5(g::text) from generate_series(1, {ROWS}) g",
        "create table other (n int)",
        "insert into other values (1)",
    )
    held = database.rows(QUERY)
    target = pass_a_second()
    database.run("truncate t restart identity", "insert into other values (2)")
    return target, held


def of_table(cli: Cli, database: Database, target: datetime) -> list[str]:
    return restoring(cli, database, target, "--table", "t")


def assert_proven_and_clean(cli: Cli, database: Database, held: list[tuple[Any, ...]]) -> dict[str, Any]:
    assert database.rows(QUERY) == held
    assert database.rows("select n from other order by 1") == [(1,), (2,)]
    # Replayed WAL leaves a sequence up to 32 numbers ahead (PostgreSQL logs it in batches), never behind.
    ((number,),) = database.rows("insert into t (body) values ('next') returning n")
    assert ROWS < number <= ROWS + 33
    case = the_case(cli)
    assert case["outcome"] == "recovered"
    assert case["copy_instance"] not in cli.live.lab.engine.instances
    home = cli.home / "cases" / case["case"]
    assert sorted(path.name for path in home.iterdir()) == ["journal.jsonl", "status.html"]
    assert not [pid for pid in _processes() if str(home).encode() in pid]
    return case


def _processes() -> list[bytes]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes())
        except OSError:
            continue
    return found


@pytest.mark.parametrize(("event", "step"), BOUNDARIES, ids=lambda value: value)
def test_killed_at_a_boundary_and_resumed(
    cli: Cli, database: Database, incident: tuple[datetime, list[tuple[Any, ...]]], event: str, step: str
) -> None:
    target, held = incident
    process = cli.start("SIGKILL", event, step, *of_table(cli, database, target), module=AT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, err
    case = the_case(cli)
    assert case["outcome"] == "open"
    resumed = cli("resume", case["case"])
    assert resumed.code == 0, resumed.err
    final = assert_proven_and_clean(cli, database, held)
    loads = next(phase for phase in final["phases"] if phase["step"] == "load")
    # the load happened exactly once: killed after its commit it is not tried again
    assert loads["attempts"] == (2 if (event, step) in {("step.start", "load"), ("load.intent", "-")} else 1)


def test_killed_in_the_middle_of_the_commit_the_server_is_asked(
    cli: Cli, database: Database, incident: tuple[datetime, list[tuple[Any, ...]]]
) -> None:
    """The load committed, but the process died before it could write that down."""
    target, held = incident
    process = cli.start("SIGKILL", "step.done", "load", *of_table(cli, database, target), module=AT)
    process.communicate(timeout=120)
    case = the_case(cli)["case"]
    path = cli.home / "cases" / case / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    assert b'"step.done","step":"load"' in lines[-1]
    path.write_bytes(b"".join(lines[:-1]))
    assert database.rows(QUERY) == held
    resumed = cli("resume", case)
    assert resumed.code == 0, resumed.err
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert {"of": "load", "happened": True} in [r["data"] for r in records if r["event"] == "step.reconciled"]
    assert len([r for r in records if r["event"] == "load.intent"]) == 1
    assert_proven_and_clean(cli, database, held)


@pytest.mark.parametrize(
    ("step", "number"),
    [*((step.name, signal.SIGINT) for step in STEPS), ("await-copy", signal.SIGTERM), ("load", signal.SIGHUP)],
)
def test_interrupted_in_a_step_and_resumed(
    cli: Cli, database: Database, incident: tuple[datetime, list[tuple[Any, ...]]], step: str, number: signal.Signals
) -> None:
    target, held = incident
    process = cli.start(number.name, "step.start", step, *of_table(cli, database, target), module=AT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    case = the_case(cli)["case"]
    assert f"help: rowback resume {case} (continue), or rowback close {case} (give up, remove the copy)" in err
    assert "Traceback" not in err
    resumed = cli("resume", case)
    assert resumed.code == 0, resumed.err
    assert_proven_and_clean(cli, database, held)


def _journal_has(cli: Cli, step: str) -> bool:
    return any(f'"step.start","step":"{step}"' in path.read_text() for path in cli.home.glob("cases/*/journal.jsonl"))


def test_giving_up_after_a_kill_removes_the_copy_and_writes_nothing(
    cli: Cli, database: Database, incident: tuple[datetime, list[tuple[Any, ...]]]
) -> None:
    target, _ = incident
    process = cli.start("SIGKILL", "step.start", "load", *of_table(cli, database, target), module=AT)
    process.communicate(timeout=120)
    case = the_case(cli)["case"]
    assert f"rowback-{case}" in cli.live.lab.engine.instances
    closed = cli("close", case)
    assert (closed.code, closed.out) == (0, f"case {case}: closed without change\n")
    assert f"rowback-{case}" not in cli.live.lab.engine.instances
    assert database.rows("select count(*) from t") == [(0,)]


def test_killed_between_the_call_to_rds_and_its_record(
    cli: Cli, database: Database, incident: tuple[datetime, list[tuple[Any, ...]]]
) -> None:
    """RDS got the restore call, the journal only knows that it was about to be made: close still finds the copy."""
    target, _ = incident
    process = cli.start("SIGKILL", "step.done", "start-copy", *of_table(cli, database, target), module=AT)
    process.communicate(timeout=120)
    case = the_case(cli)["case"]
    path = cli.home / "cases" / case / "journal.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    copy = f"rowback-{case}"
    wait_until(lambda: cli.live.lab.engine.instances[copy].status == "available", "the copy is up")
    assert cli("close", case).code == 0
    assert copy not in cli.live.lab.engine.instances


def test_a_resumed_case_refuses_a_database_that_only_has_the_name(
    cli: Cli, database: Database, incident: tuple[datetime, list[tuple[Any, ...]]]
) -> None:
    target, _ = incident
    cli.start("SIGKILL", "step.done", "read-target", *of_table(cli, database, target), module=AT).communicate()
    with database.live.connect() as master:
        master.execute(f"alter database {database.name} rename to {database.name}_old")
        master.execute(f"create database {database.name} template {database.name}_old")
    case = the_case(cli)["case"]
    resumed = cli("resume", case)
    assert resumed.code == 22
    assert f"database '{database.name}' there is another database now (system identifier or oid differ)" in resumed.err
    assert "nothing was written to the original" in resumed.err
    assert database.rows("select count(*) from t") == [(0,)]
    assert cli("close", case).code == 0
    with database.live.connect() as master:
        master.execute(f"drop database {database.name}_old")


def test_after_the_load_no_error_says_that_nothing_was_written(
    cli: Cli, database: Database, incident: tuple[datetime, list[tuple[Any, ...]]]
) -> None:
    target, held = incident
    cli.start("SIGKILL", "step.done", "load", *of_table(cli, database, target), module=AT).communicate()
    case = the_case(cli)["case"]
    resumed = cli("resume", case, PGPASSWORD="wrong")
    assert resumed.code == 31
    assert "  the rows were put back and committed\n" in resumed.err
    assert "nothing was" not in resumed.err
    assert cli("resume", case).code == 0
    assert_proven_and_clean(cli, database, held)


def test_the_copy_goes_even_when_the_original_cannot_be_asked_any_more(
    cli: Cli, database: Database, incident: tuple[datetime, list[tuple[Any, ...]]]
) -> None:
    target, _ = incident
    cli.start("SIGKILL", "load.intent", "-", *of_table(cli, database, target), module=AT).communicate()
    case = the_case(cli)["case"]
    resumed = cli("resume", case, PGPASSWORD="wrong")
    assert "  whether the load was committed is not known here; resuming asks the server\n" in resumed.err
    closed = cli("close", case, PGPASSWORD="wrong")
    assert (closed.code, closed.out) == (0, f"case {case}: closed, not known whether rows were written\n")
    assert f"rowback-{case}" not in cli.live.lab.engine.instances
    assert cli("report", case).out.splitlines()[1] == f"case {case}: closed, not known whether rows were written"


def test_reap_takes_a_copy_whose_start_was_never_confirmed(
    cli: Cli, database: Database, incident: tuple[datetime, list[tuple[Any, ...]]]
) -> None:
    target, _ = incident
    cli.start("SIGKILL", "step.done", "start-copy", *of_table(cli, database, target), module=AT).communicate()
    case = the_case(cli)["case"]
    path = cli.home / "cases" / case / "journal.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    copy = cli.live.lab.engine.instances[f"rowback-{case}"]
    wait_until(lambda: copy.status == "available", "the copy is up")
    copy.tags["rowback:expires"] = "2020-01-01T00:00:00Z"
    assert cli("reap").out == f"rowback-{case}: removed\n"
    assert copy.identifier not in cli.live.lab.engine.instances


def test_a_copy_that_vanished_is_told_soon_and_a_begun_close_is_not_turned_back(
    cli: Cli, database: Database, incident: tuple[datetime, list[tuple[Any, ...]]]
) -> None:
    target, _ = incident
    cli.start("SIGKILL", "step.start", "await-copy", *of_table(cli, database, target), module=AT).communicate()
    case = the_case(cli)["case"]
    engine = cli.live.lab.engine
    copy = engine.instances[f"rowback-{case}"]
    wait_until(lambda: copy.status == "available", "the copy is up")
    engine.delete(copy, keep_backups=False)
    wait_until(lambda: copy.identifier not in engine.instances, "somebody removed it")
    resumed = cli("resume", case)
    assert resumed.code == 50
    assert f"copy 'rowback-{case}' does not exist, or does not exist any more" in resumed.err
    failed = cli("close", case, AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert failed.code == 32
    assert f"copy 'rowback-{case}' may still be running and costs money" in failed.err
    assert failed.err.endswith(f"; then: rowback close {case}\n")
    turned = cli("resume", case)
    assert (turned.code, turned.err.splitlines()[-1]) == (29, f"  help: finish it: rowback close {case}")
    assert cli("close", case).code == 0


def test_two_processes_never_drive_one_case(
    cli: Cli, database: Database, incident: tuple[datetime, list[tuple[Any, ...]]]
) -> None:
    target, held = incident
    lab = cli.live.lab
    lab.engine.faults.creating_delay_s = 3.0
    try:
        process = cli.start(*of_table(cli, database, target))
        wait_until(lambda: _journal_has(cli, "await-copy"), "await-copy begins", 60)
    finally:
        lab.engine.faults.creating_delay_s = 0.0
    case = the_case(cli)["case"]
    for verb in ("resume", "close"):
        ran = cli(verb, case)
        assert (ran.code, ran.err) == (
            29,
            f"error[case-busy]: another process is driving case '{case}'\n  nothing was done\n"
            f"  help: watch it: rowback status {case}\n",
        )
    watched = cli("status", case)
    assert watched.out.splitlines()[0] == f"case {case}: open, being driven now"
    assert cli("reap").out == f"rowback-{case}: kept: case {case} is being driven by another process\n"
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert_proven_and_clean(cli, database, held)


def test_a_dead_session_that_still_holds_the_load_is_ended(
    cli: Cli, database: Database, incident: tuple[datetime, list[tuple[Any, ...]]]
) -> None:
    """The client is stopped, not dead, in front of its commit; another process resumes and must not wait for ever."""
    target, held = incident
    process = cli.start("SIGSTOP", "load.intent", "-", *of_table(cli, database, target), module=AT)
    wait_until(lambda: is_stopped(process.pid), "the process stopped itself", 120)
    case = the_case(cli)["case"]
    journal = cli.home / "cases" / case / "journal.jsonl"
    copy = journal.read_bytes()
    # The lock belongs to the stopped process: give the resuming one a journal of its own, as after a reboot.
    journal.unlink()
    journal.write_bytes(copy)
    resumed = cli("resume", case)
    assert resumed.code == 0, resumed.err
    assert_proven_and_clean(cli, database, held)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
