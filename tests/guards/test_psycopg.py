"""The incident, guarded: a fixture that truncates everything, on a server that is not proven disposable."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest

from tests.fix_lab import Database
from tests.fix_plain import Plain
from tests.guards.fix_suite import SUITE, SWALLOWED, furnish, rows
from tests.guards.forwarder import forwarded
from tests.guards.inner import inner_suite, pytest_on


def test_a_forwarder_on_a_unix_socket_proves_nothing(plain: Plain, tmp_path: Path) -> None:
    with psycopg.connect(plain.dsn(), autocommit=True) as server:
        server.execute("create database far")
    path = Path(tempfile.mkdtemp(prefix="rowback-guard-", dir="/tmp"))
    with forwarded(("127.0.0.1", plain.port), path=path / ".s.PGSQL.5432"):
        found = pytest_on(tmp_path, SUITE, plain.dsn("far", host=str(path), port=5432), "-k", "test_one")
    shutil.rmtree(path)
    assert found.code == 1
    assert f"TRUNCATE parent CASCADE was not sent to 'far' on 127.0.0.1:{plain.port}" in found.out
    assert f"  asked for host={path} port=5432 dbname=far user=app" in found.out
    assert "  no proof that it runs on this machine: no backend here serves our connection" in found.out


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_a_swallowed_refusal_fails_the_run(database: Database, tmp_path: Path, workers: tuple[str, ...]) -> None:
    furnish(database)
    found = pytest_on(tmp_path, SWALLOWED, database.live.dsn(database.name), *workers)
    assert "4 passed" in found.out
    assert found.code == 1
    assert "rowback guard: 4 refused" in found.out
    assert rows(database) == (3, 1)


EVERYTHING = inner_suite("ways_of_psycopg")


def test_every_way_through_psycopg(database: Database, tmp_path: Path) -> None:
    furnish(database)
    database.run("create function wipe() returns void language sql as 'delete from child'")
    found = pytest_on(tmp_path, EVERYTHING, database.live.dsn(database.name))
    assert "21 passed" in found.out, found.out
    assert found.code == 1, "refusals fail the run, caught or not"
    assert "rowback guard: 20 refused" in found.out
    assert rows(database) == (3, 1)


def test_a_proven_database_is_left_alone(plain: Plain, tmp_path: Path) -> None:
    suite = SUITE.replace(
        '    with psycopg.connect(DSN, autocommit=True) as connection:\n        connection.execute("trun',
        "    with psycopg.connect(DSN, autocommit=True) as connection:\n"
        '        connection.execute("create table if not exists parent (id int primary key)")\n'
        '        connection.execute("insert into parent values (1), (2), (3) on conflict do nothing")\n'
        '        connection.execute("trun',
    ).replace("== (3,)", "== (0,)")
    found = pytest_on(tmp_path, suite, plain.dsn())
    assert (found.code, found.out.splitlines()[-1][:8]) == (0, "2 passed"), found.out
    assert pytest_on(tmp_path, suite, plain.dsn(), CI="1").code == 0


def test_off_and_nonsense(database: Database, tmp_path: Path) -> None:
    furnish(database)
    dsn = database.live.dsn(database.name)
    wrong = pytest_on(tmp_path, SUITE, dsn, ini="rowback_guard = maybe")
    assert (wrong.code, rows(database)) == (4, (3, 1))
    assert "rowback_guard = maybe: say dev, ci or off" in wrong.out
    off = pytest_on(tmp_path, SUITE, dsn, "-k", "test_one", ini="rowback_guard = off")
    assert (off.code, rows(database)) == (0, (0, 0))


def test_as_plain_functions(database: Database, plain: Plain) -> None:
    script = (
        "import sys, guards, psycopg\n"
        "from guards.guard_session import Refused\n"
        "connection = psycopg.connect(sys.argv[1])\n"
        "try:\n    guards.assert_disposable(connection)\n    print('disposable')\n"
        "except Refused as refused:\n    print(str(refused).splitlines()[0])\n"
        "guards.enable()\n"
        "try:\n    connection.execute('drop table nothing')\n"
        "except Refused as refused:\n    print(str(refused).splitlines()[0])\n"
    )
    runs = [
        subprocess.run([sys.executable, "-c", script, dsn], text=True, capture_output=True, check=True).stdout
        for dsn in (plain.dsn(), database.live.dsn(database.name))
    ]
    older = "refused[not-disposable]: DROP TABLE nothing was not sent: this connection is older than the guard"
    assert runs[0].splitlines() == ["disposable", older]
    assert runs[1].splitlines()[0] == (
        f"refused[not-disposable]: what comes next was not sent to '{database.name}' on 127.0.0.1:{database.live.port}"
    )


def test_others_stay_guarded_while_the_guard_asks_itself() -> None:
    """The blast radius is asked through a connection of its own; meanwhile nobody else may pass."""
    script = (
        "import guards, socket, threading\n"
        "from guards.drivers.guard_connection import radius_of\n"
        "from guards.guard_session import active\n"
        "guard, seen = guards.enable(), []\n"
        "listener = socket.create_server(('127.0.0.1', 0))\n"
        "def answer():\n"
        "    client, _ = listener.accept()\n"
        "    seen.append(active() is guard)\n"
        "    client.close()\n"
        "thread = threading.Thread(target=answer)\n"
        "thread.start()\n"
        "where = {'host': '127.0.0.1', 'port': str(listener.getsockname()[1]), 'dbname': 'x', 'user': 'x'}\n"
        "print(radius_of({**where, 'password': 'x'}, []))\n"
        "thread.join()\n"
        "print(seen)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], text=True, capture_output=True, check=True)
    assert done.stdout.splitlines() == ["what it would have hit could not be asked", "[True]"]
