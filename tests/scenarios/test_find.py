"""`rowback find` on the lab: from the instance's own log to the target time, and every way in which it can go wrong."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import boto3
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
from runbooks.lab.lab_server import REGION
from tests.fix_cli import Cli, restoring
from tests.fix_lab import Database, Live, wait_until


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


@pytest.fixture
def logged(live: Live) -> Iterator[Live]:
    """The instance logs every statement, as stderr."""
    settings(live, log_statement="all", log_destination="stderr")
    yield live
    settings(live, log_statement="none", log_destination="stderr")


def settings(live: Live, **changed: str) -> None:
    cluster = live.lab.engine.instances[live.identifier].cluster
    cluster.settings |= changed
    cluster.reload()

    def so() -> bool:
        with live.connect() as fresh:
            return all(fresh.execute("select current_setting(%s)", (n,)).fetchone() == (v,) for n, v in changed.items())

    wait_until(so, f"{changed}")


def furnish(database: Database) -> None:
    database.run(
        "create table parent (id int primary key, email text)",
        "create table child (p int references parent)",
        "insert into parent select g, 'user' || g || '@example.org' from generate_series(1, 30) g",
        "insert into child select g from generate_series(1, 20) g",
        "analyze",
    )


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


def emptied(database: Database) -> None:
    """The counters of a session that has ended come a moment later."""
    asked = "select count(*) from pg_stat_user_tables where relname = 'parent' and n_live_tup = 0 and n_tup_ins = 30"
    wait_until(lambda: database.rows(asked) == [(1,)], "the counters know of it")


def test_what_was_rolled_back_is_told_and_not_proposed(cli: Cli, logged: Live, database: Database) -> None:
    furnish(database)
    with psycopg.connect(logged.dsn(database.name)) as session:
        session.execute("delete from child")
        session.rollback()
        session.execute("select 1")
    found = cli("find", logged.identifier, "--database", database.name, "--json")
    finding = FindReport.model_validate_json(found.out)
    (suspect,) = [s for s in finding.suspects if s.tables == ("child",)]
    assert (suspect.outcome, suspect.why) == ("rolled back", "ROLLBACK")
    assert finding.proposal is None


def test_the_server_is_asked_where_the_log_only_names_the_transaction(
    cli: Cli, logged: Live, database: Database
) -> None:
    furnish(database)
    settings(logged, log_destination="stderr,csvlog")
    kept = psycopg.connect(logged.dsn(database.name))
    kept.execute("insert into parent values (99)")
    kept.execute("delete from child")
    kept.commit()
    try:
        found = cli("find", logged.identifier, "--database", database.name, "--json")
        (suspect,) = [s for s in FindReport.model_validate_json(found.out).suspects if s.tables == ("child",)]
        assert suspect.outcome == "committed"
        assert suspect.why == f"the server says that transaction {suspect.xid} is committed"
        assert suspect.exact
    finally:
        kept.close()


def psql(database: Database, *statements: str) -> None:
    """Each in a session of its own, as `psql -c` sends it."""
    for statement in statements:
        with psycopg.connect(database.live.dsn(database.name), autocommit=True, application_name="psql") as session:
            session.execute(statement)


def test_a_whole_table_among_bounded_writes_is_first_and_nothing_is_proposed_behind_it(
    cli: Cli, logged: Live, database: Database
) -> None:
    furnish(database)
    psql(database, *(f"update parent set email = 'b' where id between {n} and {n + 1}" for n in range(6)))
    before = pass_a_second()
    psql(database, "update parent set email = 'gone'")
    psql(database, *(f"update parent set email = 'c' where id between {n} and {n + 1}" for n in range(20, 40)))
    for extra in ((), ("--table", "public.parent")):
        asked = ("find", logged.identifier, "--database", database.name, "--since", "10m", *extra, "--json")
        finding = FindReport.model_validate_json(cli(*asked).out)
        assert finding.suspects[0].effects == ("UPDATE parent (without WHERE)",)
        assert finding.proposal is not None
        assert finding.proposal.choices == ()
        assert before <= finding.proposal.target_time <= finding.suspects[0].from_time


def test_two_incidents_are_a_choice_with_a_time_and_a_command_each(cli: Cli, logged: Live, database: Database) -> None:
    furnish(database)
    pass_a_second()
    psql(database, "truncate child")
    between = pass_a_second()
    psql(database, "delete from parent", "select 1")
    found = cli("find", logged.identifier, "--database", database.name, "--since", "10m")
    assert "\nnext: " not in found.out
    assert "which of 2 was it? each with its own target time:\n" in found.out
    commands = [line.strip() for line in found.out.splitlines() if line.startswith("    rowback plan ")]
    assert [command.rpartition(" --table ")[2] for command in commands] == ["public.child", "public.parent"]
    times = [datetime.fromisoformat(command.split(" --at ")[1].split()[0]) for command in commands]
    assert times[0] < between <= times[1]


def test_a_dropped_database_is_among_the_first_though_nobody_named_it(
    cli: Cli, logged: Live, database: Database
) -> None:
    furnish(database)
    with logged.connect() as server:
        server.execute(f'create database "{database.name}_gone"')
        server.execute(f'drop database "{database.name}_gone"')
        server.execute("select 1")
    psql(database, *(f"update parent set email = 'b' where id between {n} and {n + 1}" for n in range(40)))
    finding = FindReport.model_validate_json(cli("find", logged.identifier, "--since", "10m", "--json").out)
    assert finding.suspects[0].effects[0].startswith("DROP DATABASE")
    assert finding.suspects[0].database == f"{database.name}_gone"


def test_what_rowback_sent_is_left_out_and_counted(cli: Cli, logged: Live, database: Database) -> None:
    furnish(database)
    target = pass_a_second()
    psql(database, "delete from child where p > 4")
    assert cli(*restoring(cli, database, target)).code == 0
    found = cli("find", logged.identifier, "--database", database.name, "--since", "10m")
    assert found.out.startswith("1 statement ")
    assert re.search(r"\nleft out: \d+ statements? that rowback itself sent\n", found.out)


def test_values_are_shown_only_on_demand(cli: Cli, logged: Live, database: Database) -> None:
    furnish(database)
    with psycopg.connect(logged.dsn(database.name), autocommit=True) as session:
        session.execute("delete from child where p::text like 'secret@%' or true")
        session.execute("delete from child where p::text <> %s", ("hush",))
        session.execute("select 1")
    plain = cli("find", logged.identifier, "--database", database.name)
    assert "secret@" not in plain.out + plain.err
    assert "hush" not in plain.out + plain.err
    assert "delete from child where p::text like $1 or $2" in plain.out
    shown = cli("find", logged.identifier, "--database", database.name, "--show-values")
    assert "delete from child where p::text like 'secret@%' or true" in shown.out
    assert "$1 = 'hush'" in shown.out


def test_logs_that_cannot_show_it_say_so(cli: Cli, live: Live, database: Database) -> None:
    furnish(database)
    database.run("truncate parent cascade")
    emptied(database)
    found = cli("find", live.identifier, "--database", database.name, "--table", "public.parent", "--since", "1m")
    assert found.code == 43
    tail = found.err.splitlines()
    assert "error[nothing-suspect]: no statement in these logs could have been the incident" in tail
    assert "  log_statement = none: statements that succeed are not logged" in tail
    assert (
        "no target time is proposed: nothing here is likely enough, and a wrong time gives plausible wrong data"
        in found.out
    )
    assert "  public.parent: empty, 30 rows were inserted once; its file was replaced, as TRUNCATE does" in found.out
    settings(live, log_statement="ddl")
    told = cli("find", live.identifier, "--database", database.name, "--table", "parent", "--since", "1m")
    assert "log_statement = ddl: DROP and ALTER are logged, TRUNCATE, DELETE and UPDATE are not" in told.out
    settings(live, log_statement="none")


def test_where_errors_are_not_logged_confidence_is_low_and_it_says_why(
    cli: Cli, logged: Live, database: Database
) -> None:
    """LOG ranks above ERROR in log_min_messages: what failed looks like what went well."""
    furnish(database)
    settings(logged, log_min_messages="log")
    try:
        with psycopg.connect(logged.dsn(database.name)) as session:
            session.execute("truncate parent cascade")
            with pytest.raises(psycopg.errors.DivisionByZero):
                session.execute("select 1/0")
        found = cli("find", logged.identifier, "--database", database.name, "--table", "parent", "--since", "1m")
    finally:
        settings(logged, log_min_messages="warning")
    why = "log_min_messages = log: errors are not logged, and statements that failed may count as committed"
    assert (f"  {why}" in found.out, "confidence low" in found.out) == (True, True), found.out + found.err


def test_a_portion_that_rds_cuts_off_is_asked_for_again_in_smaller_bites(
    cli: Cli, logged: Live, database: Database
) -> None:
    """1 MB a portion: what is behind it would be lost, and the TRUNCATE is there."""
    furnish(database)
    with psycopg.connect(logged.dsn(database.name), autocommit=True) as session:
        for n in range(300):
            session.execute(f"select length('{'x' * 9000}{n}')".encode())
        session.execute("truncate child")
        session.execute("select 1")
    found = cli("find", logged.identifier, "--database", database.name)
    assert "TRUNCATE child" in found.out


def test_the_export_in_cloudwatch_is_read_as_well(cli: Cli, live: Live) -> None:
    group = f"/aws/rds/instance/{live.identifier}/postgresql"
    absent = cli("find", live.identifier, "--cloudwatch")
    assert absent.code == 36
    assert f"error[aws-refused]: logs:FilterLogEvents on '{group}': ResourceNotFoundException" in absent.err
    logs = boto3.client(
        "logs",
        endpoint_url=f"http://127.0.0.1:{live.lab.port}",
        region_name=REGION,
        aws_access_key_id="lab",
        aws_secret_access_key="lab",
    )
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName=f"{live.identifier}.0")
    now = datetime.now(UTC)
    head = f"{now:%Y-%m-%d %H:%M:%S} UTC:10.0.0.7(51234):ann@docs:[77]:"
    texts = ["begin", "delete\n\tfrom parent", "commit", "select 1"]
    logs.put_log_events(
        logGroupName=group,
        logStreamName=f"{live.identifier}.0",
        logEvents=[
            {"timestamp": int(now.timestamp() * 1000), "message": f"{head}LOG:  statement: {text}"} for text in texts
        ],
    )
    found = cli("find", live.identifier, "--cloudwatch")
    assert found.code == 0, found.err
    assert "1. committed: DELETE parent (without WHERE)" in found.out
    assert f"read: {group}, from " in found.out


HEAD = "2026-11-22 14:20:05 UTC:10.0.0.7(51234):ann@docs:[77]:"
LOG = "".join(f"{HEAD}LOG:  statement: {text}\n" for text in ("begin", "delete from parent", "commit", "select 1"))


def test_files_of_this_machine_need_neither_aws_nor_a_database(cli: Cli, tmp_path: Path) -> None:
    plain, packed = tmp_path / "postgresql.log", tmp_path / "older.log.gz"
    plain.write_text(LOG)
    packed.write_bytes(gzip.compress(LOG.replace("parent", "older").replace("14:20:05", "13:00:00").encode()))
    found = cli("find", "--log", str(packed), "--log", str(plain))
    assert (found.code, found.err) == (0, "")
    assert found.out.splitlines()[2:7] == [
        "1. committed: DELETE parent (without WHERE)",
        "  when       2026-11-22T14:20:05Z, over by 14:20:05Z",
        "  who        role ann, from 10.0.0.7, in database docs, process 77",
        "  outcome    committed: the log shows its end",
        "  statement  delete from parent",
    ]
    assert "2. committed: DELETE older (without WHERE)" in found.out
    only = cli("find", "--log", str(packed), "--log", str(plain), "--to", "2026-11-22T14:00:00Z", "--json")
    (suspect,) = json.loads(only.out)["suspects"]
    assert suspect["tables"] == ["older"]
    assert json.loads(only.out)["proposal"]["command"] == (
        "rowback plan INSTANCE --at 2026-11-22T13:00:00Z --database docs --table public.older"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "fact"),
    [
        ((), 2, "error[usage]: neither an instance nor a log file was named"),
        (
            ("--log", "nowhere.log"),
            2,
            "error[log-unreadable]: the log 'nowhere.log' cannot be read: there is no such file",
        ),
        (
            ("--log", "noise.log"),
            2,
            "error[log-unreadable]: no line of 'noise.log' begins with log_line_prefix '%t:%r:%u@%d:[%p]:'",
        ),
        (
            ("--log", "broken.gz"),
            2,
            "error[log-unreadable]: the log 'broken.gz' cannot be read: Compressed file ended"
            " before the end-of-stream marker was reached",
        ),
        (("--log", "empty.log"), 43, "error[nothing-suspect]: no statement in these logs could have been the incident"),
        (
            ("staging", "--from", "2026-11-22T14:20:00"),
            2,
            "error[target-time-no-offset]: target time '2026-11-22T14:20:00' has no UTC offset",
        ),
        (
            ("staging", "--from", "2026-11-22T14:20:00Z", "--to", "2026-11-22T14:00:00Z"),
            2,
            "error[usage]: the search ends at 2026-11-22T14:00:00Z, before it begins at 2026-11-22T14:20:00Z",
        ),
        (("staging", "--since", "soon"), 2, "error[usage]: 'soon' is not a duration"),
        (("no-such-instance",), 10, "error[instance-unknown]: no DB instance 'no-such-instance' in eu-west-1"),
    ],
)
def test_mistakes(cli: Cli, tmp_path: Path, arguments: tuple[str, ...], code: int, fact: str) -> None:
    (tmp_path / "noise.log").write_text("nothing of the kind\n" * 5)
    (tmp_path / "empty.log").touch()
    (tmp_path / "broken.gz").write_bytes(gzip.compress(LOG.encode() * 100)[:15])
    refused = cli("find", *arguments)
    assert (refused.code, fact in refused.err.splitlines()) == (code, True), refused.err


def test_a_database_that_does_not_answer_costs_only_its_part(cli: Cli, logged: Live, database: Database) -> None:
    furnish(database)
    with psycopg.connect(logged.dsn(database.name), autocommit=True) as session:
        session.execute("truncate child")
        session.execute("select 1")
    found = cli("find", logged.identifier, "--database", database.name, PGPASSWORD="wrong")
    assert found.code == 0
    assert "TRUNCATE child" in found.out
    assert f"  database '{database.name}' could not be asked: " in found.out


def test_times_before_the_log_are_told(cli: Cli, logged: Live, database: Database) -> None:
    furnish(database)
    with psycopg.connect(logged.dsn(database.name), autocommit=True) as session:
        session.execute("truncate child")
        session.execute("select 1")
    found = cli("find", logged.identifier, "--database", database.name, "--since", "10h")
    assert "  the logs begin at " in found.out
    assert format_utc(datetime.now(UTC) - timedelta(hours=10)) not in found.out


def test_commit_timestamps_tell_when(cli: Cli, live: Live, database: Database) -> None:
    """The last test of this file: the instance restarts, and logs as RDS does by default afterwards."""
    instance = live.lab.engine.instances[live.identifier]
    values = instance.parameters.values
    try:
        values["track_commit_timestamp"] = "on"
        live.lab.engine.reboot(instance)
        wait_until(lambda: instance.status == "available", "available again")
        before = datetime.now(UTC)
        database.run("create table t (id int primary key)", "insert into t select generate_series(1, 4)")
        found = cli("find", live.identifier, "--database", database.name, "--table", "public.t", "--since", "5m")
        told = re.search(
            r"public\.t: 4 of 4 rows were last written by transaction \d+, committed at (\S+Z)\n", found.out
        )
        assert told
        assert before - timedelta(milliseconds=1) <= datetime.fromisoformat(told[1]) <= datetime.now(UTC)
    finally:
        del values["track_commit_timestamp"]
        live.lab.engine.reboot(instance)
        wait_until(lambda: instance.status == "available", "available again")


def test_the_rows_name_the_transaction_of_an_update_of_everything(cli: Cli, logged: Live, database: Database) -> None:
    """RDS's log_line_prefix has no transaction id. Behind a good statement over all rows, they tell of that alone."""
    furnish(database)
    with database.connect() as session, session.transaction():
        session.execute("update parent set email = ''")
        row = session.execute("select pg_current_xact_id()::text").fetchone()
    assert row
    database.run("update parent set email = 'x' where id = 3", "insert into parent values (99, 'new')")
    ran = cli("find", logged.identifier, "--since", "10m", "--database", database.name, "--json")
    found = FindReport.model_validate_json(ran.out)
    assert found.suspects[0].xid == int(row[0])
    why = f"; 29 of 31 rows of parent were written by transaction {row[0]}, and none before it"
    assert found.suspects[0].why.endswith(why)
    assert found.proposal
    assert found.proposal.command.endswith(f"--table public.parent --mode repair --incident-xid {row[0]}")
    database.run("update parent set email = lower(email) where email is not null")
    found = FindReport.model_validate_json(
        cli("find", logged.identifier, "--since", "10m", "--database", database.name, "--json").out
    )
    assert [suspect.xid for suspect in found.suspects if suspect.unbounded] == [0], "the rows tell of the good one"


def test_a_database_that_never_was_is_corrected(cli: Cli, logged: Live, database: Database) -> None:
    furnish(database)
    ran = cli("find", logged.identifier, "--since", "10m", "--database", f"{database.name}x")
    assert ran.code == 14
    assert ran.err.splitlines()[-5:-3] == [
        f"error[database-unknown]: instance '{logged.identifier}' has no database '{database.name}x'",
        f"  nearest names: {database.name}",
    ]


def test_a_table_that_a_foreign_key_emptied_is_reached(cli: Cli, logged: Live, database: Database) -> None:
    """And one that nothing touched is told as that."""
    database.run(
        "create table house (id int primary key)",
        "create table spare (id int)",
        "create table room (id int primary key, house int references house on delete cascade)",
        "create table bed (id int, room int references room on delete set null)",
        "insert into house select generate_series(1, 9)",
        "insert into room select g, g from generate_series(1, 9) g",
        "insert into bed select g, g from generate_series(1, 9) g",
    )
    database.run("delete from house where id < 20")
    asked = ("find", logged.identifier, "--since", "10m", "--database", database.name, "--table")
    for table in ("room", "bed"):
        found = cli(*asked, table)
        assert "1. unknown: DELETE house" in found.out or "1. committed: DELETE house" in found.out
        assert "--table public.house" in found.out.partition("next: ")[2]
        assert "none of them names or reaches" not in found.out
    untouched = cli(*asked, "spare")
    assert "none of them names or reaches 'spare' in this log" in untouched.out + untouched.err, untouched


def test_domains_over_times_and_times_before_christ(cli: Cli, logged: Live, database: Database) -> None:
    database.run(
        "create domain moment as timestamptz",
        "create domain seen as moment check (value is not null)",
        "create table t (id int, created_at seen, changed_at timestamp)",
        "insert into t values (1, '2026-11-22 14:00:00Z', '0044-03-15 12:00:00 BC'),"
        " (2, '2026-11-22 15:00:00Z', '0044-03-15 12:00:00')",
    )
    found = cli("find", logged.identifier, "--database", database.name, "--table", "t", "--since", "2h")
    assert {line.strip() for line in found.out.splitlines() if '_at" is' in line} == {
        'public.t: "created_at" is 2026-11-22T14:00:00.000Z to 2026-11-22T15:00:00.000Z in 2 rows',
        'public.t: "changed_at" is 0044-03-15T12:00:00.000 BC to 0044-03-15T12:00:00.000 in 2 rows',
    }
