"""Attacks by connections that several use, and what the guard says of itself."""

from __future__ import annotations

import shlex
from pathlib import Path

import psycopg
import pytest

from tests.fix_cli import Cli
from tests.fix_plain import Plain
from tests.guards.attacks.ways_in import PURGE
from tests.guards.fix_reach import SEND, databases, sent
from tests.guards.inner import inner_suite, keywords_of, pytest_on, script


def test_a_refusal_in_a_fixture_is_the_outcome_of_every_test_that_asks_for_it(
    old: Plain, prod: str, tmp_path: Path
) -> None:
    suite = (
        "import os, psycopg, pytest\n@pytest.fixture(scope='session')\ndef clean():\n"
        "    psycopg.connect(os.environ['TEST_DSN'], autocommit=True).execute('truncate orders')\n"
        "@pytest.mark.parametrize('n', range(4))\ndef test_one(clean, n):\n    pass\n"
    )
    found = pytest_on(tmp_path, suite, old.dsn(prod), ini="rowback_guard = dev")
    assert "4 errors" in found.out
    assert "AssertionError" not in found.out, found.out
    assert "rowback guard: 1 refused" in found.out


def test_words_of_the_commands(old: Plain, prod: str, cli: Cli) -> None:
    dsn = old.dsn(prod)
    for words, told in (
        (("mark", "--reason", " ", "--confirm", prod), "error[usage]: a mark has a reason"),
        (("mark", "--reason", "x", "--protected", "--for", "1h", "--confirm", prod), "a protection does not run out"),
    ):
        ran = cli("guard", words[0], "--dsn", dsn, *words[1:])
        assert (ran.code, told in ran.err) == (2, True), ran.err
    url = f"postgresql+psycopg://app@127.0.0.1:{old.port}/{prod}"
    assert cli("guard", "show", "--dsn", url).out.startswith(f"'{prod}' on 127.0.0.1:{old.port}: NOT proven disposable")
    bare = cli("guard", "unmark", "--dsn", dsn)
    printed = shlex.split(bare.err.splitlines()[-1].partition("rowback ")[2])
    assert cli(*printed).code == 0, "as printed"


SHARED_BY_THREADS = inner_suite("connection_of_threads")


SHARED_BY_TASKS = inner_suite("connection_of_tasks")


def test_who_shares_a_connection_shares_no_lifted_session(old: Plain, prod: str, tmp_path: Path) -> None:
    threads = script(tmp_path, SHARED_BY_THREADS, old.dsn(prod))
    assert (threads.code, threads.out) == (0, "[]\n"), threads.out
    keywords = keywords_of(old.dsn(prod))
    tasks = script(tmp_path, f"KEYWORDS = {keywords!r}\n{SHARED_BY_TASKS}", old.dsn(prod))
    assert (tasks.code, tasks.out.splitlines()[-1]) == (0, "[]"), tasks.out
    with psycopg.connect(old.dsn(), autocommit=True) as server:
        for name in sorted(n for n in databases(old) if n.startswith(("shared_", "tasks_"))):
            server.execute(f"drop database {name}")


@pytest.mark.parametrize("driver", SEND)
def test_the_third_time(old: Plain, siblings: dict[str, str], prod: str, tmp_path: Path, driver: str) -> None:
    """Names that the server cuts, sessions that are named otherwise, slots by replication's own commands, MERGE."""
    test = siblings["test"]
    long = "l" * 63
    with psycopg.connect(old.dsn(), autocommit=True) as server:
        server.execute(f"create database {long}")
    try:
        with psycopg.connect(old.dsn(long), autocommit=True) as user, psycopg.connect(old.dsn(test)):
            texts = [
                f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{long}xxx'",
                f"select pg_terminate_backend({user.info.backend_pid}) from pg_stat_activity where datname = '{test}'",
                "select pg_terminate_backend((select pid from pg_stat_activity where datname ="
                f" '{long}' limit 1)) from pg_stat_activity where datname = '{test}'",
            ]
            for session in (prod, test):
                told = sent(tmp_path, old, session, driver, *texts)
                assert [each.startswith("refused[not-disposable]") for each in told] == [True] * 3, told
            assert user.execute("select 1").fetchone() == (1,)
        told = sent(
            tmp_path,
            old,
            test,
            driver,
            f"merge into pg_database d using (select 1) x on d.datname = '{prod}'"
            " when matched then update set datconnlimit = 3",
            "insert into pg_db_role_setting values (1, 0, '{a=b}')",
            "create tablespace t location '/nowhere'",
            "DROP_REPLICATION_SLOT standbyz",
        )
        assert [each.startswith("refused[not-disposable]") for each in told[:3]] == [True] * 3, told
    finally:
        with psycopg.connect(old.dsn(), autocommit=True) as server:
            server.execute(f"drop database {long} with (force)")


def test_slots_by_the_commands_of_replication(old: Plain, siblings: dict[str, str], tmp_path: Path) -> None:
    act = (
        "import os, psycopg, psycopg2\nfrom psycopg2 import extras\nfrom guards import Refused\n"
        "DSN = os.environ['TEST_DSN']\n"
        "def by_psycopg2():\n"
        "    c = psycopg2.connect(DSN, connection_factory=extras.LogicalReplicationConnection)\n"
        "    c.cursor().drop_replication_slot('standbyz')\n"
        "def by_psycopg():\n    c = psycopg.connect(DSN, replication='database', autocommit=True)\n"
        "    psycopg.ClientCursor(c).execute('DROP_REPLICATION_SLOT standbyz')\n"
        "for way in (by_psycopg2, by_psycopg):\n    try:\n        way()\n        print('passed')\n"
        "    except Refused:\n        print('refused')\n"
    )
    with psycopg.connect(old.dsn(), autocommit=True) as server:
        server.execute("select pg_create_physical_replication_slot('standbyz')")
        try:
            assert script(tmp_path, act, old.dsn(siblings["test"])).out == "refused\nrefused\n"
        finally:
            server.execute("select pg_drop_replication_slot('standbyz')")


def test_a_database_that_is_called_replication_is_held(old: Plain, tmp_path: Path) -> None:
    dsn = old.make("replication_test", *PURGE)
    act = (
        "import os, psycopg\nc = psycopg.connect(os.environ['TEST_DSN'], autocommit=True)\n"
        "print(c.execute('show default_transaction_read_only').fetchone()[0])\n"
        "try:\n    c.execute('select * from v_purge')\n"
        "except psycopg.errors.ReadOnlySqlTransaction:\n    print('held')\n"
    )
    assert script(tmp_path, act, dsn).out == "on\nheld\n"
    with psycopg.connect(dsn) as session:
        assert session.execute("select count(*) from orders").fetchone() == (9,)


def test_a_database_that_cannot_be_marked_is_told(old: Plain, prod: str, tmp_path: Path) -> None:
    """Made for another role, of which the maker is no member: nothing speaks for it, and the run says why."""
    with psycopg.connect(old.dsn(), autocommit=True) as server:
        server.execute("create role maker login createdb; create role keeper; grant keeper to maker")
        server.execute("revoke keeper from maker; grant keeper to maker with inherit false")
    act = (
        "import os, psycopg\nfrom guards.guard_session import active\n"
        "c = psycopg.connect(os.environ['TEST_DSN'], autocommit=True)\n"
        "c.execute('create database kept_by_another owner keeper')\nprint(active().warnings)\n"
    )
    found = script(tmp_path, act, old.dsn().replace("user=app", "user=maker"))
    with psycopg.connect(old.dsn(), autocommit=True) as server:
        server.execute("drop database if exists kept_by_another")
        server.execute("drop role maker, keeper")
    assert "database 'kept_by_another' could not be marked as this run's own: must be owner of database" in found.out
