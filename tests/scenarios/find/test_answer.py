"""What find gathers and says."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import psycopg
import pytest

from recovery.incident.rank_suspects import CASCADES, JUMPED
from recovery.model.counter_reading import Reading
from recovery.model.incident_findings import FindReport
from recovery.model.target import format_utc
from recovery.postgres import row_traces
from runbooks.drills import datasets
from runbooks.drills.datasets import FaultKind
from runbooks.drills.run_drill import DrillRequest, perform
from runbooks.lab.background import pass_a_second
from tests.fix_cli import Cli
from tests.fix_lab import Database, Live, wait_until
from tests.scenarios.find.incidents import emptied, furnish, settings


class Silent:
    """Nobody watches."""

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: None


@pytest.mark.parametrize("fault", FaultKind)
def test_a_drill_that_is_told_nothing_finds_its_incident_and_repairs_it(fault: FaultKind) -> None:
    request = DrillRequest(datasets.documents(articles=300, seed=7), fault=fault, find=True)
    report = perform(request, Silent())
    assert report.passed, report
    assert report.data_loss_s < 2


def test_the_whole_answer(cli: Cli, logged: Live, database: Database) -> None:
    furnish(database)
    before = pass_a_second()
    with psycopg.connect(logged.dsn(database.name), application_name="pytest", autocommit=True) as session:
        session.execute("truncate parent cascade")
        session.execute("select 1")
        pid = session.info.backend_pid
    emptied(database)
    found = cli("find", logged.identifier, "--database", database.name, "--since", "10m")
    assert found.code == 0, found.err
    lines = found.out.splitlines()
    assert lines[0].endswith(f" of '{logged.identifier}' that may have destroyed something")
    start = lines.index("1. committed: TRUNCATE parent CASCADE")
    at = lines[start + 1].split()[1].rstrip(",")
    assert before <= datetime.fromisoformat(at) <= datetime.now(UTC)
    assert lines[start + 2 : start + 7] == [
        f"  who        role postgres, from 127.0.0.1, in database {database.name}, process {pid}",
        "  outcome    committed: no error followed, and BEGIN is logged here",
        "  reached    public.child (about 0 rows now), public.parent (about 0 rows now)",
        "  statement  truncate parent cascade",
        "",
    ]
    assert f"target time {at}, confidence high" in lines
    assert f"next: rowback plan {logged.identifier} --at {at} --database {database.name} --table public.parent" in lines
    assert "  public.parent: empty, 30 rows were inserted once; its file was replaced, as TRUNCATE does" in lines
    assert lines[-1].startswith("read: error/postgresql.log.")


def test_what_the_rows_and_rds_still_tell(cli: Cli, logged: Live, database: Database) -> None:
    """The log does not show the UPDATE; the rows know their transaction, and RDS what it did."""
    database.run("create table t (id int primary key, x int)", "insert into t select g, g from generate_series(1, 9) g")
    settings(logged, log_statement="none")
    database.run("update t set x = 0 where id > 4")
    (xid,) = database.rows("select distinct xmin::text from t where x = 0")[0]
    found = cli("find", logged.identifier, "--database", database.name, "--table", "t", "--since", "2h")
    settings(logged, log_statement="all")
    assert f"  public.t: 5 of 9 rows were last written by transaction {xid}" in found.out.splitlines()
    meanwhile = found.out.partition("what RDS did meanwhile:\n")[2]
    assert re.match(r"  \S+Z DB instance created\n  \S+Z Backing up DB instance\n", meanwhile)
    logged.lab.engine.faults.denied = {"rds:DescribeEvents"}
    refused = cli("find", logged.identifier, "--database", database.name, "--since", "2h")
    logged.lab.engine.faults.denied = set()
    assert "  RDS's own events could not be read: these credentials may not call rds:DescribeEvents" in refused.out


def test_what_became_of_the_tables_since_doctor_looked(cli: Cli, logged: Live, database: Database) -> None:
    """The counters of then and now tell which tables lost rows, and lift the statement that reached them."""
    furnish(database)
    database.run(
        "create table dropped as select g from generate_series(1, 40) g",
        "create table busy (n int)",
        "insert into busy select g from generate_series(1, 500) g",
        "create table calm as select 1 as n",
    )
    counted = "select count(*) from pg_stat_user_tables where n_tup_ins in (30, 20, 40, 500, 1)"
    wait_until(lambda: database.rows(counted) == [(5,)], "the counters know of the rows")
    database.run("analyze")  # one in the session that inserted counts twice what that has not reported yet
    assert cli("doctor", logged.identifier, "--database", database.name).code == 0
    (kept,) = (cli.home / "readings").glob(f"*{database.name}/*.json")
    at = format_utc(Reading.model_validate_json(kept.read_text()).at)
    database.run(
        "delete from calm where n = 2",
        "truncate parent cascade",
        "drop table dropped",
        "update busy set n = 0 where n > 100",
        "delete from busy where n = 0",
    )
    gone = "select count(*) from pg_stat_user_tables where n_live_tup = 0 and n_tup_ins > 0 or n_tup_del = 400"
    wait_until(lambda: database.rows(gone) == [(3,)], "the counters know of the loss")
    assert cli("doctor", logged.identifier, "--database", database.name).code == 0  # too late, and without harm
    found = cli("find", logged.identifier, "--database", database.name, "--since", "10m")
    traces = found.out.partition("traces in the database itself:\n")[2].partition("\n\n")[0]
    assert traces.splitlines() == [
        f"  public.dropped: about 40 rows at {at}; no table has this name now",
        f"  public.parent: about 30 rows at {at}, 0 now; its file was replaced since, as TRUNCATE does",
        f"  public.child: about 20 rows at {at}, 0 now; its file was replaced since, as TRUNCATE does",
        f"  public.busy: about 500 rows at {at}, 100 now; 400 deleted since, rolled back or not;"
        " 400 updated since, rolled back or not",
    ]
    assert "public.child (about 0 rows now, about 20 before), public.parent (about 0 rows now, about 30 before)" in (
        found.out
    )
    told = cli("find", logged.identifier, "--database", database.name, "--since", "10m", "--json")
    score = {one.statement: one.score for one in FindReport.model_validate_json(told.out).suspects}
    assert score["truncate parent cascade"] - score["drop table dropped"] == JUMPED + CASCADES
    for path in kept.parent.iterdir():
        path.unlink()
    forgotten = cli("find", logged.identifier, "--database", database.name, "--since", "10m").out
    assert "  public.parent: empty, 30 rows were inserted once; its file was replaced, as TRUNCATE does" in forgotten
    assert "before)" not in forgotten


def test_what_the_application_wrote_down_of_when(cli: Cli, logged: Live, database: Database) -> None:
    """The log does not show the UPDATE; 30 rows say the same time. Names that need quotes, and values that are none."""
    weird = 'public."Weird Name; --"'
    database.run(
        f'create table {weird} (n int, "created ""at""" timestamp, updated_at timestamptz, born timestamptz,'
        " removed_at timestamptz)",
        f"insert into {weird} select g, timestamp '2026-11-01 10:00' + g * interval '1 s',"
        " timestamptz '2026-11-02 11:00:00.250+01' + g * interval '1 h', now() from generate_series(1, 100) g",
    )
    settings(logged, log_statement="none")
    with database.connect() as session:
        session.execute(f"update {weird} set updated_at = '2026-11-20T12:30:00.5Z' where n <= 30")
        session.execute(f"update {weird} set updated_at = 'infinity' where n = 31")
    settings(logged, log_statement="all")
    found = cli("find", logged.identifier, "--database", database.name, "--table", weird, "--since", "10m")
    lines = [line for line in found.out.splitlines() if "Weird" in line and " is " in line]
    assert lines == [
        f'  {weird}: "created ""at""" is 2026-11-01T10:00:01.000 to 2026-11-01T10:01:40.000 in 100 rows',
        f'  {weird}: "updated_at" is 2026-11-03T18:00:00.250Z to 2026-11-20T12:30:00.500Z in 99 rows;'
        " 30 of them say 2026-11-20T12:30:00.500Z",
    ]


def test_a_part_that_cannot_be_asked_costs_only_itself(cli: Cli, logged: Live, database: Database) -> None:
    """A role without rights, a table that somebody locks, a name that is gone: the log still answers."""
    database.run(
        "create schema hidden",
        "create table hidden.t (id int)",
        "create table gone (id int)",
        "create table big (n int)",
        "insert into big select generate_series(1, 50)",
        "delete from hidden.t",
        "delete from big",
        "drop table gone",
        "create role weak login password 'weak'",
    )
    asked = ("find", logged.identifier, "--database", database.name, "--since", "10m")
    weak = cli(*asked, "--table", "hidden.t", PGUSER="weak", PGPASSWORD="weak")
    assert weak.code == 0, weak.err
    assert weak.out.splitlines()[2].endswith(": DELETE hidden.t (without WHERE)")
    silent = weak.out.partition("what this does not show:\n")[2]
    assert "  the rows of hidden.t could not be asked: " in silent
    assert "permission denied for schema hidden\n" in silent
    gone = cli(*asked, "--table", "public.gone")
    assert gone.code == 0, gone.err
    assert gone.out.splitlines()[2].endswith(": DROP TABLE gone")
    assert "  public.gone: nothing in this database has that name now\n" in gone.out
    now = format_utc(pass_a_second())
    with psycopg.connect(logged.dsn(database.name)) as migration:
        migration.execute("lock table big, hidden.t in access exclusive mode")
        locked = cli(*asked, "--table", "public.big")
        doctor = cli("doctor", logged.identifier, "--database", database.name)
        planned = cli("plan", logged.identifier, "--database", database.name, "--table", "hidden.t", "--at", now)
    assert locked.code == 0, locked.err
    assert locked.out.splitlines()[2].endswith(": DELETE big (without WHERE)")
    assert "canceling statement due to lock timeout" in locked.out.partition("what this does not show:\n")[2]
    assert doctor.code == 0, doctor.err
    assert "hidden.t, public.big" in doctor.out, "its tables are looked at all the same"
    assert planned.err.startswith("error[lock-not-granted]"), planned.err
    with database.connect() as session:
        session.execute("drop role weak")


def test_a_view_and_a_partitioned_table_say_what_they_are(cli: Cli, logged: Live, database: Database) -> None:
    database.run(
        "create table p (n int) partition by range (n)",
        "create table p1 partition of p for values from (0) to (100)",
        "create table p2 partition of p for values from (100) to (200)",
        "create view v as select 1",
        "insert into p select generate_series(0, 149)",
        "delete from p where n > 140",
    )
    asked = ("find", logged.identifier, "--database", database.name, "--since", "10m", "--table")
    wait_until(lambda: database.rows("select sum(n_live_tup) from pg_stat_user_tables") == [(141,)], "counted")
    assert "  public.v: a view, whose rows tell nothing; its tables' own may\n" in cli(*asked, "v").out
    found = cli(*asked, "P").out
    assert "  public.p: a partitioned table, whose rows tell nothing; its tables' own may\n" in found
    assert "  reached    public.p (about 141 rows now)\n" in found


def test_of_a_large_table_a_sample_is_read(
    cli: Cli, logged: Live, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_traces, "SAMPLE_BYTES", 2**18)
    database.run(
        "create table t (n int, updated_at timestamptz)",
        "insert into t select g, '2026-11-20T12:30:00Z' from generate_series(1, 100000) g",
    )
    asked = ("find", logged.identifier, "--database", database.name, "--since", "10m", "--table", "t")
    found = re.findall(r"t: (.*) sampled rows(.*)", cli(*asked).out)
    (written, marked) = ([int(n.replace(",", "")) for n in re.findall(r"\d[\d,]*(?= |$)", line)] for line, _ in found)
    assert 0 < written[0] == written[1] < 20_000
    assert 0 < marked[-1] < 20_000


def test_a_log_may_hold_what_xml_cannot(cli: Cli, logged: Live, database: Database) -> None:
    database.run("create table t (id int primary key)", "delete /* \x1b[2J\x01 */ from t", "select 1")
    found = cli("find", logged.identifier, "--database", database.name, "--since", "10m")
    assert found.code == 0, found.err
    assert "1. committed: DELETE t (without WHERE)" in found.out


def test_an_answer_that_cannot_be_read_is_not_quoted(cli: Cli) -> None:
    """It may be a log full of people's data."""

    class Garbled(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<a>secret \x1b</a>")

        def log_message(self, *arguments: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Garbled) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        found = cli("find", "x", AWS_ENDPOINT_URL=f"http://127.0.0.1:{server.server_address[1]}", AWS_MAX_ATTEMPTS="1")
        server.shutdown()
    assert found.code == 36
    assert found.err == (
        "error[aws-refused]: rds:DescribeDBInstances on 'x': the answer is no XML or JSON\n"
        "  nothing was created, nothing was written\n"
        "  help: run the same command again; for a log, try --cloudwatch or --log FILE\n"
    )


def test_its_own_questions_are_no_suspects(cli: Cli, logged: Live, database: Database) -> None:
    """They stand in the log that it reads."""
    furnish(database)
    database.run("truncate parent cascade")
    heads = [
        cli("find", logged.identifier, "--database", database.name, "--since", "10m").out.splitlines()[0]
        for _ in range(2)
    ]
    assert heads == [f"1 statement of '{logged.identifier}' that may have destroyed something"] * 2
    assert cli("doctor", logged.identifier, "--database", database.name).code == 0
    assert cli("find", logged.identifier, "--database", database.name, "--since", "10m").out.startswith("1 statement ")
