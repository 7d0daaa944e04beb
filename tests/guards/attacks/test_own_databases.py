"""Attacks on what a run may call its own."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest

from guards.statements import Reach, classify
from tests.fix_cli import Cli
from tests.fix_plain import Plain
from tests.guards.fix_reach import SEND, databases, mark, sent
from tests.guards.inner import inner_suite, keywords_of, script


def comment_on(server: Plain, name: str) -> str | None:
    with psycopg.connect(server.dsn()) as session:
        row = session.execute(
            "select shobj_description(oid, 'pg_database') from pg_database where datname = %s", (name,)
        ).fetchone()
    return str(row[0]) if row and row[0] else None


@pytest.mark.parametrize("driver", SEND)
def test_a_database_that_exists_is_not_made_ones_own(
    old: Plain, prod: str, cli: Cli, tmp_path: Path, driver: str
) -> None:
    """Neither by a block that makes it if it is missing, nor by CREATE DATABASE of its name; nor if it is protected."""
    mark(cli, old, prod, "--protected")
    protection = comment_on(old, prod)
    block = (
        f"do $$ begin if not exists (select from pg_database where datname = '{prod}') then create database {prod};"
        " end if; end $$"
    )
    told = sent(tmp_path, old, "postgres", driver, block, f"create database {prod}", f"drop database {prod}")
    assert "CREATE DATABASE" in told[0].partition("\n")[0]
    assert told[1].startswith("Duplicate"), "the server's own answer, as without the guard"
    assert told[2].startswith(f"refused[not-disposable]: DROP DATABASE {prod} was not sent")
    assert comment_on(old, prod) == protection


@pytest.mark.parametrize("driver", SEND)
def test_its_own_database_is_no_exception_for_an_unproven_session(
    old: Plain, prod: str, tmp_path: Path, driver: str
) -> None:
    with psycopg.connect(old.dsn(prod), autocommit=True) as user:
        told = sent(
            tmp_path,
            old,
            prod,
            driver,
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
            " and pid <> pg_backend_pid()",
            "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()",
            f"alter database {prod} set default_transaction_read_only = off",
            f"alter database {prod} connection limit 0",
            f"comment on database {prod} is 'hello'",
            f"select * from v_purge; comment on database {prod} is 'x'",
        )
        assert all(each.startswith("refused[not-disposable]: ") for each in told), told
        assert user.execute("select 1").fetchone() == (1,)
    assert comment_on(old, prod) is None
    with psycopg.connect(old.dsn(prod)) as session:
        assert session.execute("show default_transaction_read_only").fetchone() == ("off",)


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_nothing_runs_beside_a_statement_about_databases(old: Plain, prod: str, tmp_path: Path, driver: str) -> None:
    """A transaction that was begun before it, and a text that begins one, stay read-only."""
    acts = (
        "begin; create database beside",
        "begin",
        f"comment on database {prod} is 'x'",
        "select * from v_purge",
        "commit",
    )
    told = sent(tmp_path, old, prod, driver, *acts)
    assert told[0].startswith("refused[not-disposable]: CREATE DATABASE beside was not sent")
    assert "ReadOnlySqlTransaction" in told[3]


CANCELLED = inner_suite("cancelled_statement")


def test_a_session_that_is_cancelled_is_held_or_closed(old: Plain, prod: str, tmp_path: Path) -> None:
    keywords = keywords_of(old.dsn())
    found = script(tmp_path, f"KEYWORDS = {keywords!r}\n{CANCELLED}", old.dsn())
    assert found.code == 0, found.out
    assert "never awaited" not in found.out
    assert set(re.findall(r"'(\w+)'", found.out)) <= {"closed", "on"}
    with psycopg.connect(old.dsn(), autocommit=True) as server:
        for name in sorted(n for n in databases(old) if n.startswith("cancelled_")):
            server.execute(f"drop database {name}")


INTERRUPTED = {
    "psycopg": "import psycopg\nc = psycopg.connect(DSN, autocommit=True)\nrun = c.execute\n"
    "def show():\n    return c.execute('show default_transaction_read_only').fetchone()[0]\n"
    "gone = lambda: c.closed\n",
    "psycopg2": "import psycopg2\nc = psycopg2.connect(DSN); c.autocommit = True\ncur = c.cursor()\nrun = cur.execute\n"
    "def show():\n    cur.execute('show default_transaction_read_only')\n    return cur.fetchone()[0]\n"
    "gone = lambda: c.closed\n",
}


@pytest.mark.parametrize("driver", INTERRUPTED)
def test_an_interrupt_while_it_is_marked_leaves_it_held(old: Plain, prod: str, tmp_path: Path, driver: str) -> None:
    module = {"psycopg": "psycopg3", "psycopg2": "psycopg2_exchanges"}[driver]
    act = (
        f"import os\nDSN = os.environ['TEST_DSN']\n{INTERRUPTED[driver]}import guards.drivers.{module} as d\n"
        "def interrupted(*_):\n    raise KeyboardInterrupt\nd.mark_as_own = interrupted\n"
        "try:\n    run('create database interrupted')\nexcept KeyboardInterrupt:\n    print(gone() or show())\n"
    )
    found = script(tmp_path, act, old.dsn())
    assert found.out in ("on\n", "True\n", "1\n"), found.out
    with psycopg.connect(old.dsn(), autocommit=True) as server:
        server.execute("drop database interrupted")


ARRAYS = {
    "psycopg": "psycopg.connect(DSN, autocommit=True).execute(TEXT, (NAMES,))",
    "asyncpg": "asyncio.run(through())",
}


@pytest.mark.parametrize("driver", ARRAYS)
def test_an_array_of_names_is_no_name(
    old: Plain, prod: str, siblings: dict[str, str], tmp_path: Path, driver: str
) -> None:
    names = [siblings["test"], siblings["staging"]]
    ends = "select pg_terminate_backend(pid) from pg_stat_activity where datname = any({})"
    literal = ends.format("'{" + ",".join(names) + "}'")
    with psycopg.connect(old.dsn(siblings["staging"]), autocommit=True) as user:
        for session in ("postgres", siblings["test"]):
            act = (
                f"import asyncio, os, {driver}\nfrom guards import Refused\nDSN = os.environ['TEST_DSN']\n"
                f"TEXT, NAMES = {ends.format('%s')!r}, {names!r}\n"
                "async def through():\n"
                f"    c = await asyncpg.connect(host='127.0.0.1', port={old.port}, user='app', database={session!r})\n"
                f"    await c.execute({literal!r})\n"
                f"try:\n    {ARRAYS[driver]}\nexcept Refused:\n    print('refused')\n"
            )
            assert script(tmp_path, act, old.dsn(session)).out == "refused\n"
        assert user.execute("select 1").fetchone() == (1,)
    in_list = classify(f"{ends.partition(' where')[0]} where datname in ('a', 'b') and true").reaching[0]
    assert (in_list.reach, in_list.objects) == (Reach.SESSIONS, ("a", "b"))
    assert classify(ends.format("array['a', 'b']")).reaching[0].objects == ("a", "b")
    assert classify(ends.format("'{a,b}'")).reaching[0].objects == ()
