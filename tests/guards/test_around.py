"""What passes by the drivers: children with an environment of their own, isolated Pythons, other programs and drivers,
connections that are older than the guard, plugins that connect while they are imported."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from runbooks.lab.lab_server import Lab
from tests.fix_lab import wait_until
from tests.fix_plain import Plain
from tests.guards.fix_plugin import guard_run
from tests.guards.inner import pytest_on, ran, script

WIPE = "import os, psycopg\npsycopg.connect(os.environ['TEST_DSN'], autocommit=True).execute('delete from orders')\n"


@pytest.fixture
def orders(old: Plain, request: pytest.FixtureRequest) -> Iterator[str]:
    """The DSN of a database with nine orders, on a server of two years; they are counted at the end."""
    name = "around_" + "".join(c if c.isalnum() else "_" for c in request.node.name)[-48:].lower()
    dsn = old.make(name, "create table orders as select generate_series(1, 9) as id")
    yield dsn
    assert count(dsn) == 9
    with psycopg.connect(old.dsn(), autocommit=True) as server:
        server.execute(f"drop database {name} with (force)")


def count(dsn: str) -> int:
    with psycopg.connect(dsn) as session:
        ((rows,),) = session.execute("select count(*) from orders")
    return int(rows)


ENVIRONMENTS = {
    "PYTHONPATH": '{**os.environ, "PYTHONPATH": "src"}',
    "replaced": '{"TEST_DSN": os.environ["TEST_DSN"], "PATH": os.environ["PATH"]}',
    "without": '{k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "ROWBACK_GUARD")}',
}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_children_with_an_environment_of_their_own(orders: str, tmp_path: Path, environment: str) -> None:
    (tmp_path / "wipe.py").write_text(WIPE)
    suite = (
        "import asyncio, os, subprocess, sys\n"
        "def test_one():\n"
        f"    subprocess.run([sys.executable, 'wipe.py'], env={ENVIRONMENTS[environment]})\n"
        "def test_async():\n"
        "    async def go():\n"
        "        child = await asyncio.create_subprocess_exec(sys.executable, 'wipe.py',\n"
        f"                                                     env={ENVIRONMENTS[environment]})\n"
        "        await child.wait()\n"
        "    asyncio.run(go())\n"
    )
    found = pytest_on(tmp_path, suite, orders)
    assert found.code == 1
    assert "rowback guard: 2 refused" in found.out
    told = 1 if environment == "replaced" else 2  # which test it was stands in the environment
    assert found.out.count("DELETE orders (without WHERE) was not sent") == told


def test_guard_run_notices_what_it_cannot_guard(orders: str, tmp_path: Path) -> None:
    """Of a Python it is an error; of other programs it is told. What needs no PostgreSQL is neither."""
    (tmp_path / "reads.py").write_text(
        "import os, psycopg, time\nc = psycopg.connect(os.environ['TEST_DSN'])\nc.execute('select pg_sleep(0.3)')\n"
    )
    for options in (["-E"], ["-I"], ["-sE"]):
        code, out = guard_run(tmp_path, sys.executable, *options, "reads.py", dsn=orders)
        assert code == 21, out
        assert (
            out.splitlines()[0]
            == "refused[not-disposable]: a Python process reached for PostgreSQL and could not be guarded"
        )
        assert f": {Path(sys.executable).name} {' '.join(options)} reads.py" in out.splitlines()[1]
        assert orders.split(maxsplit=1)[0] not in out, "arguments and DSNs may hold a password"
    for command in ((sys.executable, "reads.py"), (sys.executable, "-I", "-c", "print('no database')")):
        code, out = guard_run(tmp_path, *command, dsn=orders)
        assert (code, "refused" in out) == (0, False), out
    nested = (
        "import os, subprocess, sys; own = {'TEST_DSN': os.environ['TEST_DSN']};"
        " sys.exit(subprocess.run([sys.executable, 'reads.py'], env=own).returncode)"
    )
    code, out = guard_run(tmp_path, sys.executable, "-c", nested, dsn=orders)
    assert (code, out) == (0, ""), "as tox does it: the environment is put back"


def test_other_programs_are_named(lab: Lab, orders: str, tmp_path: Path) -> None:
    psql = str(lab.engine.tools.bin / "psql")
    code, out = guard_run(tmp_path, psql, orders, "-Atc", "select pg_sleep(0.3), count(*) from orders", dsn=orders)
    assert (code, out.splitlines()) == (
        0,
        ["|9", "rowback guard: psql reached for PostgreSQL; what it sends is not looked at"],
    )


PG8000 = (
    "import pg8000.dbapi\ndef test_one():\n    from psycopg.conninfo import conninfo_to_dict\n    import os\n"
    "    way = conninfo_to_dict(os.environ['TEST_DSN'])\n"
    "    c = pg8000.dbapi.connect(way['user'], host=way['host'], port=int(way['port']), database=way['dbname'])\n"
    "    c.cursor().execute('select count(*) from orders')\n"
)


def test_drivers_that_are_not_guarded_are_named(orders: str, tmp_path: Path) -> None:
    told = "rowback guard: pg8000 is imported, and nothing of what it sends is guarded"
    found = pytest_on(tmp_path, PG8000, orders, ini="rowback_guard = dev")
    assert (found.code, told in found.out) == (0, True), found.out
    refused = pytest_on(tmp_path, PG8000, orders, ini="rowback_guard = ci")
    assert refused.code != 0
    assert "refused[not-disposable]: pg8000 is imported, and nothing of what it sends is guarded" in refused.out
    assert (
        "  help: use psycopg, psycopg2 or asyncpg; or, where it reaches nothing that can be lost: in rowback.toml,"
        in (refused.out)
    )
    (tmp_path / "rowback.toml").write_text('[guard]\nuncovered_drivers = "warn"\n')
    assert pytest_on(tmp_path, PG8000, orders, ini="rowback_guard = ci").code == 0


def test_connections_of_psycopg2_that_are_older_than_the_guard(orders: str, tmp_path: Path) -> None:
    early = (
        "import os, psycopg2, guards\nfrom psycopg2 import extensions\n"
        "early = psycopg2.connect(os.environ['TEST_DSN'])\nearly.autocommit = True\n"
    )
    late = (
        "guard = guards.enable('dev')\nassert isinstance(early, extensions.connection)\n"
        "try:\n    early.cursor().execute('delete from orders')\nexcept psycopg2.errors.ReadOnlySqlTransaction:\n"
        "    print(guard.warnings[0])\n"
    )
    (tmp_path / "early.py").write_text(early + late)
    found = ran(tmp_path, "early.py", TEST_DSN=orders)
    assert found.code == 0, found.out
    assert found.out.startswith("a psycopg2 connection to 'around_")
    assert found.out.endswith(" is older than the guard: its session is read-only, its statements are not looked at\n")
    (tmp_path / "early.py").write_text(early + "early.autocommit = False\nearly.cursor().execute('select 1')\n" + late)
    amid = ran(tmp_path, "early.py", TEST_DSN=orders)
    assert amid.code == 1
    assert "is older than the guard and amid a transaction" in amid.out
    assert "  help: enable the guard before anything connects (pytest: -p rowback first)" in amid.out


def test_a_plugin_that_connects_while_it_is_imported(orders: str, tmp_path: Path) -> None:
    """pytest imports what `-p` names in order, before any hook: the guard stands if it is named first."""
    (tmp_path / "eager.py").write_text(WIPE)
    found = pytest_on(tmp_path, "def test(): pass", orders, "-p", "rowback", "-p", "eager", PYTHONPATH=str(tmp_path))
    assert found.code != 0
    assert "DELETE orders (without WHERE) was not sent" in found.out, found.out
    (tmp_path / "eager.py").write_text(WIPE.replace("delete from orders", "select 1"))
    for first, told in ((("-p", "rowback"), False), ((), True)):
        seen = pytest_on(tmp_path, "def test(): pass", orders, *first, "-p", "eager", PYTHONPATH=str(tmp_path))
        assert seen.code == 0
        assert (
            "rowback guard: plugin eager was imported before the guard stood, and so was psycopg; what it sent then was"
            " not looked at: put -p rowback before -p eager" in seen.out
        ) is told, seen.out


CLOCKS = {
    "freezegun": "from freezegun import freeze_time as frozen\n",
    "time_machine": "import time_machine\nfrozen = lambda at: time_machine.travel(at, tick=False)\n",
}


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("at", ["2024-02-29", "2030-01-01", "made"])
def test_the_tests_clock_decides_nothing(
    old: Plain, plain: Plain, orders: str, tmp_path: Path, clock: str, at: str
) -> None:
    """A new server stays new, an old one old, and marks run out when they do."""
    young, out_of_date = plain.make(f"c_{clock}_{at[:4]}"), orders
    with psycopg.connect(old.dsn()) as server:
        ((identifier, made),) = server.execute(
            "select system_identifier::text, to_timestamp((system_identifier >> 32) + 600)::text"
            " from pg_control_system()"
        )
    with psycopg.connect(out_of_date, autocommit=True) as owner:
        ((oid,),) = owner.execute("select oid::bigint from pg_database where datname = current_database()")
        mark = (
            f'{{"rowback_guard": {{"state": "disposable", "system_identifier": "{identifier}", "database_oid": {oid},'
            ' "by": "x", "reason": "y", "until": "2026-01-01T00:00:00+00:00"}, "comment": null}'
        )
        name = owner.info.dbname
        owner.execute(f"comment on database {name} is '{mark}'")
    suite = (
        f"import os, psycopg, pytest\nfrom guards import Refused\n{CLOCKS[clock]}"
        f"AT = {made if at == 'made' else at!r}\n".replace("AT = 2", "AT = '2").replace("+00\n", "+00'\n")
        + "def test_young():\n    with frozen(AT):\n"
        "        for _ in range(2):\n"
        f"            psycopg.connect('{young}', autocommit=True).execute('create table if not exists t ()')\n"
        "@pytest.mark.rowback_refusals_expected\ndef test_ran_out():\n    with frozen(AT), pytest.raises(Refused):\n"
        f"        psycopg.connect('{orders}', autocommit=True).execute('delete from orders')\n"
    )
    found = pytest_on(tmp_path, suite, orders, ini="rowback_guard = dev")
    assert (found.code, "2 passed" in found.out) == (0, True), found.out


def test_sessions_that_take_no_questions(old: Plain, plain: Plain, orders: str, tmp_path: Path) -> None:
    """Replication connections of both drivers are judged by another session: they work on what is proven."""
    act = (
        "import os, psycopg, psycopg2\nfrom psycopg2 import extras\nDSN = os.environ['TEST_DSN']\n"
        "c = psycopg2.connect(DSN, connection_factory=extras.LogicalReplicationConnection)\n"
        "c.cursor().execute('IDENTIFY_SYSTEM')\n"
        "p = psycopg2.connect(DSN, connection_factory=extras.PhysicalReplicationConnection)\n"
        "p.cursor().execute('IDENTIFY_SYSTEM')\n"
        "psycopg.connect(DSN, replication='database', autocommit=True).execute('IDENTIFY_SYSTEM')\nprint('served')\n"
    )
    found = script(tmp_path, act, plain.make("replicated"))
    assert (found.code, found.out) == (0, "served\n"), found.out
    refused = script(tmp_path, act, orders)
    assert refused.code == 1
    assert 'not understood (syntax error at or near "IDENTIFY_SYSTEM") was not sent' in refused.out


def test_a_subscriber_on_a_new_cluster_is_no_replica(plain: Plain, tmp_path: Path) -> None:
    """A suite of change data capture: its own client follows the server, over this machine."""
    dsn = plain.make("captured")
    with psycopg.connect(plain.dsn(), autocommit=True) as server:
        if server.execute("show wal_level").fetchone() != ("logical",):
            follow = "START_REPLICATION PHYSICAL 0/1000000"
        follower = psycopg.connect(plain.dsn(), replication="true", autocommit=True)
        follower.pgconn.send_query(follow.encode())
        wait_until(
            lambda: server.execute("select count(*) from pg_stat_get_wal_senders()").fetchone() == (1,), "it follows"
        )
        found = script(tmp_path, "import os, psycopg\n" + WIPE.replace("delete from orders", "create table t ()"), dsn)
        follower.close()
    assert found.code == 0, found.out


def test_two_roles_in_one_suite(plain: Plain, tmp_path: Path) -> None:
    dsn = plain.make("roles", "create role runtime login", "grant create on schema public to runtime")
    act = (
        "import os, psycopg\nDSN = os.environ['TEST_DSN']\nowner = psycopg.connect(DSN, autocommit=True)\n"
        "owner.execute('create table t ()')\nruntime = psycopg.connect(DSN.replace('user=app', 'user=runtime'))\n"
        "runtime.execute('create table u ()')\n"
    )
    found = script(tmp_path, act, dsn)
    assert found.code == 0, found.out


def test_options_with_words_of_their_own_hide_no_isolation(orders: str, tmp_path: Path) -> None:
    (tmp_path / "reads.py").write_text(
        "import os, psycopg\nc = psycopg.connect(os.environ['TEST_DSN'])\nc.execute('select pg_sleep(0.3)')\n"
    )
    for options in (["-W", "ignore", "-I"], ["-X", "utf8", "-E"]):
        assert guard_run(tmp_path, sys.executable, *options, "reads.py", dsn=orders)[0] == 21
    assert guard_run(tmp_path, sys.executable, "-W", "ignore", "reads.py", dsn=orders)[0] == 0
