"""What attacks on the guards found: each way in is a way no more, and each honest suite that they broke is whole."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from guards.cross_database_reach import may_reach_bytes
from guards.statements import Reach, classify
from tests.fix_cli import Cli
from tests.fix_plain import Plain
from tests.guards.fix_laptop import MAKES
from tests.guards.fix_reach import SEND, databases, mark, sent, siblings
from tests.guards.inner import clean_environment, keywords_of, pytest_on, script

__all__ = ["siblings"]

PURGE = (
    "create table orders as select generate_series(1, 9) as id",
    "create function purge() returns int language plpgsql as $$ begin delete from orders; return 1; end $$",
    "create view v_purge as select purge()",
)


@pytest.fixture
def prod(old: Plain, request: pytest.FixtureRequest) -> Iterator[str]:
    """An unmarked database with nine orders, and a view that deletes them; they are counted at the end."""
    name = "prod_" + re.sub(r"\W", "_", request.node.name)[-40:]
    old.make(name, *PURGE)
    yield name
    with psycopg.connect(old.dsn(name)) as session:
        assert session.execute("select count(*) from orders").fetchone() == (9,)
    with psycopg.connect(old.dsn(), autocommit=True) as server:
        server.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


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


CANCELLED = """
import asyncio, os, asyncpg
async def go():
    found = []
    for n in range(12):
        c = await asyncpg.connect(**KEYWORDS)
        task = asyncio.create_task(c.execute(f"create database cancelled_{n}"))
        for _ in range(n % 5):
            await asyncio.sleep(0.001 * (n % 3))
        task.cancel()
        try:
            await task
        except BaseException:
            pass
        found.append("closed" if c.is_closed() else await c.fetchval("show default_transaction_read_only"))
        c.terminate()
    print(sorted(set(found)))
asyncio.run(go())
"""


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
    module = {"psycopg": "psycopg3", "psycopg2": "psycopg2_talks"}[driver]
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


@pytest.mark.parametrize("driver", SEND)
def test_tables_of_another_server_by_every_way_that_leads_there(
    old: Plain, siblings: dict[str, str], prod: str, tmp_path: Path, driver: str
) -> None:
    test = siblings["test"]
    with psycopg.connect(old.dsn(test), autocommit=True) as owner:
        for statement in (
            "create extension postgres_fdw",
            "create extension dblink",
            f"create server there foreign data wrapper postgres_fdw options (host '127.0.0.1', port '{old.port}',"
            f" dbname '{prod}')",
            "create user mapping for app server there options (user 'app')",
            "create foreign table far (id int) server there options (table_name 'orders')",
            "create view far_view as select * from far",
            "create table parent (id int) partition by range (id)",
            "create foreign table part partition of parent for values from (0) to (100) server there"
            " options (table_name 'orders')",
        ):
            owner.execute(statement)
    told = sent(
        tmp_path,
        old,
        test,
        driver,
        "DELETE FROM FAR",
        "truncate Far",
        "delete from far_view",
        "truncate parent",
        "delete from parent",
        "create foreign table again (id int) server there options (table_name 'orders')",
        "truncate again",
        "select dblink_exec('there', 'truncate orders')",
        "select dblink_exec('service=prod', 'truncate orders')",
        f"select dblink_exec('port={old.port}', 'truncate orders')",
        f"create server unseen foreign data wrapper postgres_fdw options (dbname '{prod}')",
        "delete from orders",
        f"select dblink_connect('c', 'host=127.0.0.1 port={old.port} user=app dbname={test}')",
    )
    passed = [n for n, each in enumerate(told) if not each]
    assert passed == [5, 11, 12], told
    assert "which are not seen here (service=prod): name host, port and dbname" in told[8]


@pytest.mark.parametrize("driver", SEND)
def test_what_all_databases_of_a_server_share(
    old: Plain, siblings: dict[str, str], prod: str, tmp_path: Path, driver: str
) -> None:
    test, staging, _ = siblings.values()
    with psycopg.connect(old.dsn(), autocommit=True) as server:
        server.execute("select pg_create_physical_replication_slot('standby')")
        try:
            told = sent(
                tmp_path,
                old,
                test,
                driver,
                f"update pg_database set datallowconn = false where datname = '{prod}'",
                f"UPDATE pg_catalog.pg_database SET datconnlimit = 0 WHERE datname = '{staging}'",
                "delete from pg_shdescription where true",
                "select pg_drop_replication_slot('standby')",
                "copy (select 1) to program 'touch /tmp/never'",
                f"revoke connect on database {prod} from public",
                f"GRANT ALL\nON DATABASE {prod} TO app",
                f"COMMENT\nON DATABASE {staging} IS 'x'",
                "alter database template1 set work_mem = '5MB'",
                f"create subscription s connection 'host=127.0.0.1 port={old.port} dbname={prod}' publication p",
                "drop subscription if exists nobody_at_all",
            )
            assert [each.startswith("refused[not-disposable]") for each in told] == [True] * 10 + [False], told
            assert server.execute("select count(*) from pg_replication_slots").fetchone() == (1,)
        finally:
            server.execute("select pg_drop_replication_slot('standby')")
    assert "is marked protected" in told[7]


def test_words_in_names_do_not_hide_statements() -> None:
    for text in (
        "revoke connect on database x from y",
        "COMMENT\nON DATABASE x IS 'y'",
        "create\nserver s foreign data wrapper w",
        "grant all on database x to y",
        "copy t to program 'x'",
    ):
        assert may_reach_bytes(text.encode()), text


@pytest.mark.parametrize("driver", SEND)
def test_a_marked_session_makes_databases_too(
    old: Plain, siblings: dict[str, str], tmp_path: Path, driver: str
) -> None:
    second = f"second_{driver}"
    make = MAKES[driver] + (
        f"run('create database {second}')\nother = os.environ['TEST_DSN'].replace({siblings['test']!r}, '{second}')\n"
        "run('create table t (id int)', other)\n"
        f"run(\"comment on database {second} is 'mine'\")\nrun('grant all on database {second} to app')\n"
        "run('truncate t', other)\n"
        f"run('drop database {second}')\nprint('green')\n"
    )
    for name in (siblings["test"], "postgres"):
        text = (
            make
            if name != "postgres"
            else make.replace(repr(siblings["test"]), "'dbname=postgres'").replace(
                f", '{second}')", f", 'dbname={second}')"
            )
        )
        found = script(tmp_path, text, old.dsn(name))
        assert (found.code, found.out) == (0, "green\n"), found.out


SQLALCHEMY = """
import asyncio, os, sqlalchemy as sa
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.ext.asyncio import create_async_engine
import asyncpg
w = conninfo_to_dict(os.environ["TEST_DSN"])
url = sa.URL.create("postgresql+asyncpg", w["user"], host=w["host"], port=int(w["port"]), database=w["dbname"])
async def go():
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    async with engine.connect() as c:
        await c.execute(sa.text("create database by_sqlalchemy"))
        ends = "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'by_sqlalchemy'"
        await c.execute(sa.text(ends))
        await c.execute(sa.text("drop database by_sqlalchemy"))
    await engine.dispose()
    c = await asyncpg.connect(host=w["host"], port=w["port"], user=w["user"], database=w["dbname"])
    await c.fetch("create database by_fetch")
    await (await c.prepare("drop database by_fetch")).fetch()
    print(await c.fetchval("show default_transaction_read_only"))
    await c.close()
asyncio.run(go())
"""


def test_asyncpg_that_prepares(old: Plain, prod: str, tmp_path: Path) -> None:
    found = script(tmp_path, SQLALCHEMY, old.dsn())
    assert (found.code, found.out) == (0, "on\n"), found.out


DJANGO_LEFT = "import os, psycopg\npsycopg.connect(os.environ['TEST_DSN'], autocommit=True).execute(TEXT)\n"


@pytest.mark.parametrize("protected", [False, True])
def test_the_help_names_the_database_that_is_in_question(
    old: Plain, prod: str, cli: Cli, tmp_path: Path, protected: bool
) -> None:
    """Dropped from the maintenance database, it is its own mark that counts, also for a strange name."""
    name = "Weird Name; --'s"
    with psycopg.connect(old.dsn(), autocommit=True) as server:
        server.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    dsn = psycopg.conninfo.make_conninfo(old.dsn(), dbname=name)
    if protected:
        done = cli("guard", "mark", "--dsn", dsn, "--protected", "--reason", "keep", "--confirm", name)
        assert done.code == 0, done.err
    text = DJANGO_LEFT.replace("TEXT", repr(f'drop database "{name}"'))
    refused = script(tmp_path, text, old.dsn())
    (help_,) = {line for line in refused.out.splitlines() if "rowback guard " in line and "mark" in line}
    assert "dbname=postgres" not in help_
    assert ("rowback guard unmark" in help_) is protected
    for command in re.findall(r"rowback (guard (?:un)?mark .*?)(?=; rowback|$)", help_):
        words = shlex.split(command.replace("…", "over"))
        followed = subprocess.run(
            [sys.executable, "-m", "recovery.cli", *words],
            check=False,
            text=True,
            capture_output=True,
            env=clean_environment(),
        )
        assert followed.returncode == 0, followed.stderr
    assert script(tmp_path, text, old.dsn()).code == 0, "followed as printed"
    assert name not in databases(old)


def test_no_mark_is_advised_where_none_would_help(old: Plain, siblings: dict[str, str], tmp_path: Path) -> None:
    told = sent(
        tmp_path,
        old,
        siblings["test"],
        "psycopg",
        "drop role app",
        "alter system set work_mem = '1MB'",
        'drop database "a\\1"',
    )
    for each in told[:2]:
        assert each.endswith("  help: use a server of the tests' own for what reaches beyond one database"), each
    assert told[2] == "InvalidCatalogName", "no crash, and no harm: there is none of that name"


def test_fork_and_spawn_belong_to_the_run(old: Plain, prod: str, tmp_path: Path) -> None:
    act = MAKES["psycopg"] + (
        "import multiprocessing\nother = os.environ['TEST_DSN'].replace('dbname=postgres', 'dbname=forked')\n"
        "def work(n):\n    run(f'create table t{n} (id int)', other)\n    return n\n"
        "if __name__ == '__main__':\n    run('create database forked')\n"
        "    for how in ('fork', 'spawn'):\n"
        "        with multiprocessing.get_context(how).Pool(1) as pool:\n"
        "            print(pool.map(work, [len(how)]))\n"
        "    run('drop database forked with (force)')\n"
    )
    found = script(tmp_path, act, old.dsn())
    assert (found.code, found.out) == (0, "[4]\n[5]\n"), found.out


PSYCOPG2 = """
import abc, io, os, psycopg2
from psycopg2 import extensions, extras
DSN = os.environ["TEST_DSN"]
class Abstract(extensions.connection, abc.ABC):
    pass
class OfExtras(extras.RealDictConnection, abc.ABC):
    pass
class Own(extensions.connection):
    def cursor(self, *arguments, **named):
        return extensions.connection.cursor(self, *arguments, **named)
for made in (Abstract, OfExtras, Own, extras.MinTimeLoggingConnection, extras.LoggingConnection, None):
    c = psycopg2.connect(DSN, connection_factory=made)
    if hasattr(c, "initialize"):
        c.initialize(io.StringIO())
    c.cursor().execute("select 1")
    assert isinstance(c, extensions.connection) and isinstance(c, made or extensions.connection), made
    c.close()
assert issubclass(extras.LoggingConnection, extensions.connection)
assert issubclass(Abstract, extensions.connection) and not issubclass(int, extensions.connection)
print("whole")
"""


@pytest.mark.parametrize("proven", [True, False])
def test_classes_of_psycopg2_stay_what_they_are(
    old: Plain, plain: Plain, prod: str, tmp_path: Path, proven: bool
) -> None:
    found = script(tmp_path, PSYCOPG2, plain.dsn() if proven else old.dsn(prod))
    assert (found.code, found.out) == (0, "whole\n"), found.out


def test_asking_for_a_driver_is_not_importing_it(old: Plain, prod: str, tmp_path: Path) -> None:
    (tmp_path / "postgresql").mkdir()
    (tmp_path / "postgresql" / "__init__.py").touch()
    suite = (
        "import importlib.util\ndef test_one():\n    import postgresql\n"
        "    for name in ('psqlpy', 'pgdb', 'duckdb', 'pg8000'):\n        importlib.util.find_spec(name)\n"
        "    try:\n        import psqlpy\n    except ImportError:\n        pass\n"
    )
    found = pytest_on(tmp_path, suite, old.dsn(prod), ini="rowback_guard = ci\npythonpath = .")
    assert (found.code, "is imported" in found.out) == (0, False), found.out


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


SHARED_BY_THREADS = """
import os, psycopg2, threading
c = psycopg2.connect(os.environ["TEST_DSN"]); c.autocommit = True
seen, done = [], threading.Event()
def read():
    while not done.is_set():
        try:
            c.cursor().execute("select * from v_purge")
            seen.append("written")
        except psycopg2.errors.ReadOnlySqlTransaction:
            pass
threads = [threading.Thread(target=read) for _ in range(6)]
for thread in threads:
    thread.start()
for n in range(6):
    c.cursor().execute(f"create database shared_{n}")
    c.cursor().execute(f"drop database shared_{n}")
done.set()
for thread in threads:
    thread.join()
print(seen)
"""
SHARED_BY_TASKS = """
import asyncio, asyncpg, os
async def go():
    c = await asyncpg.connect(**KEYWORDS)
    logged = []
    async def log(record):
        other = await asyncpg.connect(**KEYWORDS)
        try:
            await other.execute("delete from orders")
            logged.append("written")
        except BaseException as error:
            logged.append(type(error).__name__)
        await other.close()
    c.add_query_logger(log)
    done = asyncio.Event()
    async def read():
        while not done.is_set():
            try:
                await c.execute("select * from v_purge")
                logged.append("read-write")
            except (asyncpg.InterfaceError, asyncpg.PostgresError):
                pass
            await asyncio.sleep(0)
    tasks = [asyncio.create_task(read()) for _ in range(3)]
    for n in range(5):
        try:
            await c.execute(f"create database tasks_{n}")
        except asyncpg.InterfaceError:
            pass
        if c.is_closed():
            break
    done.set()
    await asyncio.gather(*tasks)
    await asyncio.sleep(0.3)
    print(sorted(set(logged) - {"Refused"}))
asyncio.run(go())
"""


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
