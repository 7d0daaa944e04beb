"""kill -9 of rowback, of the live backend and of the copy at every stage of a row-level repair."""

from __future__ import annotations

import json
import os
import signal
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from runbooks.lab.background import pass_a_second
from tests.faults.processes import processes_in
from tests.fix_cli import Cli, restoring, the_case
from tests.fix_lab import Database, wait_until

pytestmark = pytest.mark.matrix

AT = "tests.faults.signal_at"
T_ROWS = "select n, body from t order by n"
LATE = [(9001, "late"), (9002, "later")]
BOUNDARIES = [
    ("step.start", "diff"),
    ("changes.begun", "-"),
    ("step.done", "diff"),
    ("repair.approved", "-"),
    ("step.start", "load"),
    ("load.intent", "-"),
    ("step.done", "load"),
    ("verification", "-"),
]  # (the boundaries of the other steps: test_kill.py)


@pytest.fixture
def incident(database: Database) -> tuple[datetime, list[tuple[Any, ...]]]:
    """Rows deleted and others changed by the incident; later good rows."""
    database.run(
        "create table t (n int primary key, body text)",
        "insert into t select g, md5(g::text) from generate_series(1, 3000) g",
        "create table u (n int primary key references t on delete cascade)",
        "insert into u select n from t",
    )
    held = database.rows(T_ROWS)
    target = pass_a_second()
    database.run("delete from t where n % 3 = 0", "insert into t values (9001, 'late'), (9002, 'later')")
    return target, held


def assert_whole(cli: Cli, database: Database, held: list[tuple[Any, ...]]) -> dict[str, Any]:
    assert database.rows(T_ROWS) == held + LATE
    assert database.rows("select count(*), sum(n) from u") == [(3000, sum(range(1, 3001)))]
    case = the_case(cli)
    assert case["outcome"] == "recovered"
    assert case["copy_instance"] not in cli.live.lab.engine.instances
    return case


@pytest.mark.parametrize(("event", "step"), BOUNDARIES, ids=lambda value: value)
def test_killed_at_a_boundary_and_resumed(
    cli: Cli, database: Database, incident: tuple[datetime, list[tuple[Any, ...]]], event: str, step: str
) -> None:
    target, held = incident
    process = cli.start("SIGKILL", event, step, *restoring(cli, database, target), module=AT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, err
    case = the_case(cli)["case"]
    resumed = cli("resume", case)
    if resumed.code == 21:  # killed before the approval was written down: a resumed case asks again
        assert f"database '{database.name}' is about to be written to and nobody confirmed" in resumed.err
        assert f"rowback apply {case} {digest(cli, case)} --confirm {database.name}" in resumed.err
        assert len(database.rows(T_ROWS)) == 2002
        applied = cli("apply", case, digest(cli, case), "--confirm", database.name)
        assert applied.code == 0, applied.err
        resumed = cli("resume", case)
    assert resumed.code == 0, resumed.err
    assert_whole(cli, database, held)
    assert cli("undo", case, "--confirm", database.name).code == 0
    assert database.rows("select count(*) from t where n % 3 = 0 and n < 9000") == [(0,)]
    assert database.rows("select count(*) from u") == [(2000,)]


def digest(cli: Cli, case: str) -> str:
    return str(json.loads(cli("diff", case, "--json").out)["digest"])[:8]


def struck(cli: Cli, at: tuple[str, str], *arguments: str, **victim: str) -> tuple[int, str]:
    """Run rowback while something else is struck dead; its exit code and what it said."""
    process = cli.start(*at, *arguments, module="tests.faults.strike_at", **victim)
    _, err = process.communicate(timeout=120)
    return process.returncode, err


@pytest.mark.parametrize(
    "at", [("changes.begun", "-"), ("step.start", "load"), ("load.intent", "-"), ("step.start", "verify")]
)
def test_the_live_backend_is_killed(
    cli: Cli, database: Database, incident: tuple[datetime, list[tuple[Any, ...]]], at: tuple[str, str]
) -> None:
    target, held = incident
    code, err = struck(cli, at, *restoring(cli, database, target), STRIKE_DSN=database.live.dsn(database.name))
    if at == ("load.intent", "-"):  # the last word before COMMIT
        assert "whether the load was committed is not known here; resuming asks the server" in err
    if code == 0:  # it had no session open at that moment
        assert at[0] == "step.start"
        assert_whole(cli, database, held)
        return
    assert code == 51, err
    assert len(database.rows(T_ROWS)) == (3002 if at[1] == "verify" else 2002), "all or nothing"
    case = the_case(cli)["case"]
    resumed = cli("resume", case)
    if resumed.code == 21:
        assert cli("apply", case, digest(cli, case), "--confirm", database.name).code == 0
        resumed = cli("resume", case)
    assert resumed.code == 0, resumed.err
    assert_whole(cli, database, held)


def test_the_copy_dies_while_it_is_compared(
    cli: Cli, database: Database, incident: tuple[datetime, list[tuple[Any, ...]]]
) -> None:
    target, held = incident
    case = cli("open", *restoring(cli, database, target)[1:-2]).out.strip()
    copy = cli.live.lab.engine.instances[f"rowback-{case}"]
    pid = int((Path(copy.cluster.data) / "postmaster.pid").read_text().splitlines()[0])
    code, err = struck(cli, ("changes.begun", "-"), "diff", case, STRIKE_PID=str(pid))
    assert code == 51, err
    assert "nothing was written to the original" in err
    assert len(database.rows(T_ROWS)) == 2002
    data = Path(copy.cluster.data).resolve()
    # also its zombie, which a starting server would take for another one
    wait_until(lambda: not copy.cluster.alive() and not processes_in(data), "what was left of the server is gone")
    copy.cluster.start()  # RDS restarts an engine that crashed
    ran = cli("apply", case, digest(cli, case), "--confirm", database.name)
    assert ran.code == 0, ran.err
    assert cli("resume", case).code == 0
    assert_whole(cli, database, held)


def test_the_copy_is_not_needed_to_apply(
    cli: Cli, database: Database, incident: tuple[datetime, list[tuple[Any, ...]]]
) -> None:
    """Row-level changes are in the case's own files."""
    target, held = incident
    case = cli("open", *restoring(cli, database, target)[1:-2]).out.strip()
    plan = digest(cli, case)
    copy = cli.live.lab.engine.instances[f"rowback-{case}"]
    pid = int((Path(copy.cluster.data) / "postmaster.pid").read_text().splitlines()[0])
    os.kill(pid, signal.SIGKILL)
    ran = cli("apply", case, plan, "--confirm", database.name)
    assert ran.code == 0, ran.err
    assert database.rows(T_ROWS) == held + LATE
    assert "proven by the load, not compared with T once more" in cli("report", case).out
    assert cli("close", case).out == f"case {case}: recovered\n"
