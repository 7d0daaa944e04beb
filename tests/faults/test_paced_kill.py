"""A paced load cut off between, before and in its batches: gone on with, or taken back."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from recovery.reload import wal_pace
from runbooks.lab.background import pass_a_second
from tests.fix_cli import Cli, restoring, the_case
from tests.fix_lab import Database, wait_until

pytestmark = pytest.mark.matrix

ROWS = 6000
HELD = "select count(*), sum(n), md5(string_agg(body, '' order by n)) from t where n < 9000"
CHILDREN = "select count(*), sum(t_n) from u"
FAST, SLOW = "1GiB", "60kB"


@pytest.fixture
def opened(cli: Cli, database: Database) -> tuple[str, str]:
    """A case in which 4,000 rows and their children are to be put back; its id and its repair plan's digest."""
    database.run(
        "create table t (n int primary key, body text)",
        f"insert into t select g, md5(g::text) from generate_series(1, {ROWS}) g",
        "create table u (t_n int primary key references t on delete cascade)",
        "insert into u select n from t",
    )
    target = pass_a_second()
    database.run("delete from t where n % 3 > 0", "insert into t values (9001, 'late')")
    ran = cli("open", *restoring(cli, database, target)[1:-2])
    assert ran.code == 0, ran.err
    case = ran.out.strip()
    return case, str(json.loads(cli("diff", case, "--json").out)["digest"])[:8]


def before(database: Database) -> bool:
    return bool(database.rows("select count(*) from t") == [(2001,)] and database.rows(CHILDREN)[0][0] == 2000)


def whole(database: Database) -> None:
    assert database.rows("select count(*), count(distinct n) from t where n < 9000") == [(ROWS, ROWS)]
    assert database.rows("select bool_and(body = md5(n::text)) from t where n < 9000") == [(True,)]
    assert database.rows(CHILDREN) == [(ROWS, ROWS * (ROWS + 1) // 2)]
    assert database.rows("select body from t where n = 9001") == [("late",)]


def applying(opened: tuple[str, str], database: Database, rate: str = FAST) -> list[str]:
    return ["apply", *opened, "--confirm", database.name, "--max-wal-rate", rate]


@pytest.mark.parametrize("event", ["load.portion#1", "load.intent#2", "load.intent#4"])
def test_killed_and_taken_back(cli: Cli, database: Database, opened: tuple[str, str], event: str) -> None:
    process = cli.start("SIGKILL", event, "-", *applying(opened, database), module="tests.faults.signal_at")
    _, err = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, err
    committed = put_back(database)
    assert committed > 0
    case = opened[0]
    undone = cli("undo", case, "--confirm", database.name)
    assert undone.code == 0, undone.err
    assert before(database)
    assert cli("undo", case, "--confirm", database.name).code == 0  # the undo taken back
    assert put_back(database) == committed


def put_back(database: Database) -> int:
    return int(database.rows("select (select count(*) from t) - 2001 + (select count(*) from u) - 2000")[0][0])


@pytest.mark.parametrize("event", ["load.intent#1", "load.intent#2", "load.portion#2", "step.done"])
def test_killed_and_resumed(cli: Cli, database: Database, opened: tuple[str, str], event: str) -> None:
    step = "load" if event == "step.done" else "-"
    process = cli.start("SIGKILL", event, step, *applying(opened, database), module="tests.faults.signal_at")
    process.communicate(timeout=120)
    resumed = cli("resume", opened[0])
    assert resumed.code == 0, resumed.err
    whole(database)
    assert the_case(cli)["outcome"] == "recovered"
    assert cli("verify", opened[0]).code == 0
    assert cli("undo", opened[0], "--confirm", database.name).code == 0
    assert before(database)


def test_the_live_backend_is_killed_in_the_second_batch(cli: Cli, database: Database, opened: tuple[str, str]) -> None:
    process = cli.start(
        "load.intent#2",
        "-",
        *applying(opened, database),
        module="tests.faults.strike_at",
        STRIKE_DSN=database.live.dsn(database.name),
    )
    _, err = process.communicate(timeout=120)
    assert process.returncode == 51, err
    assert "1,000 rows in 1 batch are put back and committed; whether the next one was is not known here" in err
    resumed = cli("resume", opened[0])
    assert resumed.code == 0, resumed.err
    whole(database)


def test_interrupted_between_portions_it_says_how_far_it_is(
    cli: Cli, database: Database, opened: tuple[str, str]
) -> None:
    process = cli.start(*applying(opened, database, SLOW))
    journal = cli.home / "cases" / opened[0] / "journal.jsonl"
    wait_until(lambda: '"load.portion"' in journal.read_text(), "the first batch is written down")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert f"case {opened[0]} is paused at step 'load'" in err
    assert "1,000 rows in 1 batch are put back and committed, the rest is not" in err
    refused = cli("diff", opened[0], "--mode", "repair")
    assert refused.code == 29
    closed = cli("close", opened[0])
    assert closed.out == f"case {opened[0]}: recovered in part\n"
    assert database.rows("select count(*) from t") == [(3001,)]
    assert cli("verify", opened[0]).code == 0
    assert cli("undo", opened[0], "--confirm", database.name).code == 0
    assert before(database)


@contextmanager
def stalled_replica(database: Database) -> Iterator[subprocess.Popen[bytes]]:
    """Somebody who follows the server's WAL, and stops to."""
    cluster = database.live.lab.engine.instances[database.live.identifier].cluster
    home = cluster.root / f"follows-{database.name}"
    cluster.tools.give(home)
    process = cluster.tools.start(
        "pg_receivewal", "-D", home, "-d", cluster.dsn(), "--synchronous", log=home.with_suffix(".log")
    )
    try:
        streams = "select count(*) from pg_stat_replication where state = 'streaming'"
        wait_until(lambda: database.rows(streams) == [(1,)], "the replica streams")
        process.send_signal(signal.SIGSTOP)
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


def test_it_waits_for_a_replica(cli: Cli, database: Database, opened: tuple[str, str]) -> None:
    batch = "select count(*) from t"
    with stalled_replica(database) as replica:
        database.run("create table ballast as select md5(g::text) from generate_series(1, 40000) g")
        process = cli.start(*applying(opened, database, "500kB"))
        wait_until(lambda: database.rows(batch) != [(2001,)], "the first batch commits")
        first = database.rows(batch)
        journal = cli.home / "cases" / opened[0] / "journal.jsonl"
        assert journal.read_text().count('"load.portion"') <= 1
        lag = "select max(pg_wal_lsn_diff(pg_current_wal_lsn(), flush_lsn)) > 5 * 500000 from pg_stat_replication"
        assert database.rows(lag) == [(True,)]
        assert database.rows(batch) == first, "no second batch while the replica is behind"
        assert process.poll() is None
        replica.send_signal(signal.SIGCONT)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    whole(database)


def test_a_replica_that_does_not_come_nearer_ends_it_and_it_goes_on(
    cli: Cli, database: Database, opened: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal_pace, "CATCH_UP_S", 0.5)
    with stalled_replica(database) as replica:
        database.run("create table ballast as select md5(g::text) from generate_series(1, 40000) g")
        ran = cli(*applying(opened, database, "500kB"))
        assert ran.code == 55
        assert "error[replica-behind]: a replica is " in ran.err
        replica.send_signal(signal.SIGCONT)
        again = cli("resume", opened[0])
    assert f"rowback resume {opened[0]}" in ran.err.rpartition("help: ")[2]
    assert again.code == 0, again.err
    whole(database)
