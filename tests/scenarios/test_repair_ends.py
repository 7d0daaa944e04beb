"""How cases end: what was approved, written, taken back, or cut off is what every command says afterwards."""

from __future__ import annotations

import json
import signal
from datetime import timedelta
from pathlib import Path

import pytest

from recovery.model.target import format_utc
from runbooks.lab.background import pass_a_second
from tests.fix_cli import Cli, restoring, the_case
from tests.fix_lab import Database

SIGNAL_AT = "tests.faults.signal_at"
ROWS = "select * from t order by 1"


def test_whole_tables_need_an_approval_too_and_the_end_is_told(cli: Cli, database: Database) -> None:
    database.run("create table t (id int primary key, x text)", "insert into t values (1, 'a'), (2, 'b')")
    target = pass_a_second()
    database.run("truncate t")
    opened = cli("open", *restoring(cli, database, target)[1:-2], "--json")
    case = json.loads(opened.out)["case"]
    assert json.loads(opened.out) == {"case": case, "copy_instance": f"rowback-{case}"}
    resumed = cli("resume", case)
    assert resumed.code == 21
    assert "nothing was written to the original" in resumed.err
    assert database.rows(ROWS) == []
    digest = cli("diff", case, "--digest").out.strip()
    assert cli("apply", case, "00000000", "--confirm", database.name).code == 22
    paced = cli("apply", case, digest, "--confirm", database.name, "--max-wal-rate", "1MiB")
    assert (paced.code, paced.err.splitlines()[0]) == (
        2,
        f"error[usage]: case {case} loads whole tables in place only, and those come back in one transaction",
    )
    assert database.rows(ROWS) == []
    assert cli("apply", case, digest, "--confirm", database.name).code == 0
    assert database.rows(ROWS) == [(1, "a"), (2, "b")]
    again = cli("apply", case, digest, "--confirm", database.name)
    assert (again.code, again.err.splitlines()[0]) == (
        29,
        f"error[case-busy]: case {case} has written its rows already",
    )
    assert cli("undo", case, "--confirm", database.name).code == 0
    assert database.rows(ROWS) == []
    again = cli("apply", case, digest, "--confirm", database.name)
    assert (
        again.err.splitlines()[0] == f"error[case-busy]: case {case} has written its rows and taken them back already"
    )
    assert cli("close", case).code == 0
    assert json.loads(cli("report", case, "--json").out)["taken_back"] is True
    assert "recovered, taken back" in cli("cases").out


def test_only_blocked_rows_say_where_to_look(cli: Cli, database: Database) -> None:
    database.run("create table t (id int primary key, x text)", "insert into t values (1, 'a'), (2, 'b')")
    target = pass_a_second()
    database.run("delete from t where id = 2", "alter table t add check (x <> 'b')")
    ran = cli(*restoring(cli, database, target))
    case = the_case(cli)["case"]
    assert ran.code == 41
    assert "  public.t: 1 blocked, 1 unchanged\n" in ran.err
    assert f"help: see why: rowback diff {case} --show blocked" in ran.err
    shown = 'public.t id=2: blocked, keep (it violates check "t_x_check")\n    at T  id=2, x=b\n'
    assert cli("diff", case, "--show", "blocked").out == shown
    limited = cli("diff", case, "--limit", "1")
    assert (limited.out, limited.err) == (shown, "")
    assert cli("diff", case, "--decisions", str(Path.cwd())).code == 2


def cut_last_record(cli: Cli, case: str, event: str) -> None:
    """The process died after the commit and before it could write that down."""
    path = cli.home / "cases" / case / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    assert f'"{event}"'.encode() in lines[-1]
    path.write_bytes(b"".join(lines[:-1]))


def test_an_undo_cut_off_is_finished_and_not_turned_round(cli: Cli, database: Database) -> None:
    database.run("create table t (id int primary key, x text)", "insert into t values (1, 'a'), (2, 'b')")
    target = pass_a_second()
    database.run("delete from t where id = 2", "insert into t values (3, 'new')")
    assert cli(*restoring(cli, database, target)).code == 0
    case = the_case(cli)["case"]
    undo = ("undo", case, "--confirm", database.name)
    put_back = "put back again, which undoes the undo before"
    for event, rows_left, rows_after, words in (
        ("undo.intent", 3, 2, "taken back"),  # killed before the commit: done now
        ("undo.done", 3, 3, put_back),  # killed after the commit of the undo of the undo: only finished
        ("undo.done", 2, 2, "taken back"),
    ):
        process = cli.start("SIGKILL", event, "-", *undo, module=SIGNAL_AT)
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
        if event == "undo.done":
            cut_last_record(cli, case, event)
        assert len(database.rows(ROWS)) == rows_left
        again = cli(*undo)
        assert again.code == 0, again.err
        assert again.out.startswith(f"case {case}: {words}\n")
        told = json.loads(cli("status", case, "--json").out)
        assert (told["outcome"], told["taken_back"]) == ("recovered", words == "taken back")
        back = ", taken back" * (words == "taken back")
        assert cli("status", case).out.startswith(f"case {case}: recovered{back}\n")
        assert len(database.rows(ROWS)) == rows_after


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_an_interrupted_undo_says_how_to_go_on(cli: Cli, database: Database, name: str) -> None:
    database.run("create table t (id int primary key, x text)", "insert into t values (1, 'a'), (2, 'b')")
    target = pass_a_second()
    database.run("delete from t where id = 2", "insert into t values (3, 'new')")
    assert cli(*restoring(cli, database, target)).code == 0
    case = the_case(cli)["case"]
    undo = ("undo", case, "--confirm", database.name)
    process = cli.start(name, "undo.intent", "-", *undo, module=SIGNAL_AT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.endswith(
        "interrupted\n  whether the undo was committed is asked of the server\n"
        f"  help: rowback undo {case} again: what was committed is finished, not turned round\n"
    )
    assert database.rows("select count(*) from t") == [(3,)]
    assert cli(*undo).code == 0
    assert database.rows(ROWS) == [(1, "a"), (3, "new")]
    process = cli.start("SIGINT", "verified.again", "-", *undo, module=SIGNAL_AT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.endswith(f"interrupted\n  the undo was committed\n  help: rowback verify {case}\n")
    assert database.rows("select count(*) from t") == [(3,)]


def test_undo_right_after_a_load_that_died_in_its_commit(cli: Cli, database: Database) -> None:
    database.run("create table t (id int primary key, x text)", "insert into t values (1, 'a'), (2, 'b')")
    target = pass_a_second()
    database.run("delete from t where id = 2", "insert into t values (3, 'new')")
    process = cli.start("SIGKILL", "load.intent", "-", *restoring(cli, database, target), module=SIGNAL_AT)
    process.communicate(timeout=60)
    case = the_case(cli)["case"]
    nothing = cli("undo", case, "--confirm", database.name)
    assert (nothing.code, nothing.err.splitlines()[0]) == (
        42,
        f"error[nothing-to-undo]: case {case} has written nothing",
    )
    process = cli.start("SIGKILL", "step.done", "load", "resume", case, module=SIGNAL_AT)
    process.communicate(timeout=60)
    cut_last_record(cli, case, "step.done")
    assert database.rows(ROWS) == [(1, "a"), (2, "b"), (3, "new")]
    assert cli("undo", case, "--confirm", database.name).code == 0
    assert database.rows(ROWS) == [(1, "a"), (3, "new")]


@pytest.mark.parametrize("mode", ["missing", "repair"])
def test_a_copy_that_wrote_itself_cannot_say_whether_the_incident_was_committed(
    cli: Cli, database: Database, mode: str
) -> None:
    """As on RDS: no checkpoint names the end of recovery any more, so the id may be one of the copy's own."""
    database.run("create table t (id int primary key, x text)", "insert into t values (1, 'a'), (2, 'b')")
    before = pass_a_second()
    with database.connect() as live, live.transaction():
        live.execute("delete from t where id = 2")
        ((xid,),) = live.execute("select pg_current_xact_id()::text::bigint % 4294967296")
    behind = pass_a_second()
    wanted = ("--mode", mode, "--incident-xid", str(xid))
    refused = cli(*restoring(cli, database, behind, *wanted))
    assert refused.code == 41
    assert (
        f"  the copy knows transaction {xid} as committed, by T or as one of its own: if rows of it are missed here, T"
        " lies behind it, and an earlier --at is needed\n" in refused.err
    )
    assert refused.err.splitlines()[-1] == (
        f"  help: nothing was lost in these tables since T: rowback close {the_case(cli)['case']}, then an earlier --at"
        " or other tables"
    )
    assert cli("close", the_case(cli)["case"]).code == 0
    recovered = cli(*restoring(cli, database, before, *wanted))
    assert (recovered.code, "the copy knows transaction" in recovered.err) == (0, False), recovered.err
    assert database.rows(ROWS) == [(1, "a"), (2, "b")]


@pytest.mark.parametrize("mode", ["missing", "repair"])
def test_a_time_behind_the_incident_is_proven_wrong_before_anything_is_written(
    cli: Cli, database: Database, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """`rowback find` names the transaction; the copy says whether it was committed by T, if it did not write itself."""
    monkeypatch.setattr(cli.live.lab.engine.faults, "idle_after_restore", True)
    database.run("create table t (id int primary key, x text)", "insert into t values (1, 'a'), (2, 'b')")
    before = pass_a_second()
    with database.connect() as live, live.transaction():
        live.execute("delete from t")
        ((xid,),) = live.execute("select pg_current_xact_id()::text::bigint % 4294967296")
    behind = pass_a_second()
    wanted = ("--mode", mode, "--incident-xid", str(xid))
    refused = cli(*restoring(cli, database, behind, *wanted))
    case = the_case(cli)["case"]
    assert refused.code == 44
    earlier = format_utc(behind - timedelta(seconds=1))
    assert refused.err.splitlines()[-6:] == [
        f"error[target-too-late]: at {format_utc(behind)} transaction {xid} of the incident was committed already",
        "  the copy says so, which was restored to that moment: it holds the damage",
        f"  case {case} is paused at step 'secure-copy'",
        f"  copy 'rowback-{case}' may still be running and costs money",
        "  nothing was written to the original",
        f"  help: rowback close {case}, then the same with an earlier time, such as --at {earlier}",
    ]
    assert database.rows(ROWS) == []
    assert cli("close", case).code == 0
    assert cli(*restoring(cli, database, before, *wanted)).code == 0
    assert database.rows(ROWS) == [(1, "a"), (2, "b")]
