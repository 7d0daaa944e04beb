"""Attacks by names that are put together, encoded, prepared or given as parameters."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from tests.fix_cli import Cli
from tests.fix_plain import Plain
from tests.guards.fix_reach import SEND, sent
from tests.guards.inner import script


def test_a_parameter_names_a_database_as_well(old: Plain, siblings: dict[str, str], tmp_path: Path) -> None:
    act = (
        "import os, psycopg\nc = psycopg.connect(os.environ['TEST_DSN'], autocommit=True)\n"
        "ends = 'select pg_terminate_backend(pid) from pg_stat_activity where datname = %s'\n"
        "ends += ' and pid <> pg_backend_pid()'\n"
        f"c.execute(ends, ({siblings['test']!r},))\nfrom guards import Refused\n"
        f"try:\n    c.execute(ends, ({siblings['bystander']!r},))\nexcept Refused:\n    print('refused')\n"
    )
    with psycopg.connect(old.dsn(siblings["bystander"])):
        assert script(tmp_path, act, old.dsn(siblings["test"])).out == "refused\n"


def test_the_servers_own_error_is_not_masked(old: Plain, prod: str, tmp_path: Path) -> None:
    for driver in ("psycopg", "psycopg2"):
        told = sent(tmp_path, old, "postgres", driver, "begin", "create database never", "rollback")
        assert told[1].startswith(("ActiveSqlTransaction", "ReadOnlySqlTransaction", "refused")), told
        assert "guard could not ask" not in told[1]


ASCII_TEXTS = ("drop database {staging}", "drop database {bystander}", "drop role app")


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_names_are_read_in_sql_ascii_as_well(
    old: Plain, siblings: dict[str, str], cli: Cli, tmp_path: Path, driver: str
) -> None:
    """psycopg gives bytes there, and what the guard asks is asked in UTF-8."""
    texts = [text.format(**siblings) for text in ASCII_TEXTS]
    for name in ("postgres", siblings["test"]):
        in_ascii = old.dsn(name) + " client_encoding=SQL_ASCII"
        way = psycopg.conninfo.conninfo_to_dict(in_ascii)
        assert way["client_encoding"] == "SQL_ASCII"
        act = f"import os\nDSN, KEYWORDS = os.environ['TEST_DSN'], {{}}\n{SEND[driver]}" + (
            "from guards import Refused\n"
            f"for text in {texts!r}:\n    try:\n        send(text)\n        print('passed', text)\n"
            "    except Refused:\n        print('refused')\n"
        )
        assert script(tmp_path, act, in_ascii).out == "refused\n" * 3
    with psycopg.connect(old.dsn(), autocommit=True) as server:
        server.execute("create database ascii encoding 'SQL_ASCII' locale 'C' template template0")
    dsn = old.dsn("ascii")
    try:
        for command in (("show",), ("mark", "--reason", "x", "--confirm", "ascii"), ("check",), ("unmark",)):
            ran = cli("guard", command[0], "--dsn", dsn, *command[1:])
            assert ran.code == 0, ran.err
    finally:
        with psycopg.connect(old.dsn(), autocommit=True) as server:
            server.execute("drop database ascii")


def test_a_name_that_sql_puts_together_may_be_any(
    old: Plain, siblings: dict[str, str], prod: str, tmp_path: Path
) -> None:
    test, staging, _ = siblings.values()
    loop = "do $$ declare d text; begin for d in select {} loop execute {}; end loop; end $$"
    told = sent(
        tmp_path,
        old,
        test,
        "psycopg",
        loop.format(
            f"datname from pg_database where datname = '{staging}'", "format('comment on database %I is null', d)"
        ),
        loop.format(
            f"datname from pg_database where datname = '{prod}'", "format('alter database %I connection limit 7', d)"
        ),
        loop.format("rolname from pg_roles where rolname = 'app'", "format('drop role %I', d)"),
        loop.format("rolname from pg_roles where rolname = 'app'", "'alter role ' || quote_ident(d) || ' nologin'"),
    )
    assert [each.startswith("refused[not-disposable]") for each in told] == [True] * 4, told


@pytest.mark.parametrize("driver", SEND)
def test_sessions_end_only_by_the_shape_that_names_them(
    old: Plain, siblings: dict[str, str], prod: str, tmp_path: Path, driver: str
) -> None:
    test, staging, _ = siblings.values()
    with psycopg.connect(old.dsn(staging), autocommit=True) as user:
        for session in (prod, test):
            told = sent(
                tmp_path,
                old,
                session,
                driver,
                "select count(*) from pg_stat_activity where datname = 'never_there' and pg_terminate_backend(pid)",
                "select pg_terminate_backend(a.pid) from pg_stat_activity a, pg_database d"
                f" where d.datname = '{test}' and a.pid <> pg_backend_pid()",
                f"select (select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = '{staging}')"
                f" from pg_stat_activity where datname = '{test}'",
                f"select dblink_exec('host=127.0.0.1 port={old.port} user=app dbname={test}',"
                f" 'drop database {staging}')",
            )
            assert [each.startswith("refused[not-disposable]") for each in told] == [True] * 4, told
        assert user.execute("select 1").fetchone() == (1,)


def test_each_row_of_many_names_its_own(old: Plain, siblings: dict[str, str], tmp_path: Path) -> None:
    test, staging, _ = siblings.values()
    act = (
        "import os, psycopg\nfrom guards import Refused\nc = psycopg.connect(os.environ['TEST_DSN'], autocommit=True)\n"
        "text = 'select pg_terminate_backend(pid) from pg_stat_activity where datname = %s'\n"
        "text += ' and pid <> pg_backend_pid()'\n"
        f"try:\n    c.cursor().executemany(text, [({test!r},), ({staging!r},)])\n"
        "except Refused:\n    print('refused')\n"
        "c.cursor().executemany('insert into orders values (%s)', [(1,), (2,)])\n"
    )
    with psycopg.connect(old.dsn(staging), autocommit=True) as user:
        assert script(tmp_path, act, old.dsn(test)).out == "refused\n"
        assert user.execute("select 1").fetchone() == (1,)


def test_foreign_servers_that_came_meanwhile(old: Plain, siblings: dict[str, str], prod: str, tmp_path: Path) -> None:
    """Made by another program while the suite ran: the next connection sees them."""
    test = siblings["test"]
    act = (
        "import os, psycopg\nfrom guards import Refused\nfrom guards.drivers.guard_connection import asking\n"
        "DSN = os.environ['TEST_DSN']\n"
        "psycopg.connect(DSN, autocommit=True).execute('delete from orders where id = 1')\n"
        "with asking(), psycopg.connect(DSN, autocommit=True) as other:\n"
        "    other.execute('create extension postgres_fdw')\n"
        f"    other.execute(\"create server there foreign data wrapper postgres_fdw options (host '127.0.0.1',"
        f" port '{old.port}', dbname '{prod}')\")\n"
        "    other.execute(\"create user mapping for app server there options (user 'app')\")\n"
        "    other.execute(\"create foreign table far (id int) server there options (table_name 'orders')\")\n"
        "c = psycopg.connect(DSN, autocommit=True)\n"
        "for text in ('delete from far where id = 1', \"update pg_foreign_server set srvoptions = null\"):\n"
        "    try:\n        c.execute(text)\n        print('passed')\n    except Refused:\n        print('refused')\n"
        "c.execute('delete from orders where id = 2')\n"
    )
    found = script(tmp_path, act, old.dsn(test))
    assert (found.code, found.out) == (0, "refused\nrefused\n"), found.out


def test_what_was_prepared_is_judged_when_it_runs(old: Plain, siblings: dict[str, str], tmp_path: Path) -> None:
    act = (
        "import asyncio, asyncpg, os, psycopg\nfrom guards import Refused\n"
        "from guards.drivers.guard_connection import asking\n"
        "async def go():\n"
        f"    c = await asyncpg.connect(host='127.0.0.1', port={old.port}, user='app', database={siblings['test']!r})\n"
        "    d = await c.prepare('drop database if exists future_one')\n"
        "    with asking(), psycopg.connect(os.environ['TEST_DSN'], autocommit=True) as other:\n"
        "        other.execute('create database future_one')\n"
        "    try:\n        await d.fetch()\n    except Refused:\n        print('refused')\n"
        "    await c.close()\nasyncio.run(go())\n"
    )
    assert script(tmp_path, act, old.dsn()).out == "refused\n"
    with psycopg.connect(old.dsn(), autocommit=True) as server:
        server.execute("drop database future_one")


@pytest.mark.parametrize("driver", SEND)
def test_more_that_is_shared(old: Plain, siblings: dict[str, str], tmp_path: Path, driver: str) -> None:
    with psycopg.connect(old.dsn(), autocommit=True) as server:
        server.execute("create role reporting; create role alice; grant reporting to alice")
    told = sent(
        tmp_path,
        old,
        siblings["test"],
        driver,
        "revoke reporting from alice",
        "grant set on parameter work_mem to alice",
        "copy (select 'x') to '/tmp/never'",
        "select pg_stat_reset_shared('bgwriter')",
    )
    assert [each.startswith("refused[not-disposable]") for each in told] == [True] * 4, told
    assert all("rowback guard mark" not in each for each in told)
    with psycopg.connect(old.dsn(), autocommit=True) as server:
        assert server.execute("select count(*) from pg_auth_members where member = 'alice'::regrole").fetchone() == (1,)
        server.execute("drop role alice, reporting")
