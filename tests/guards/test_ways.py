"""The incident's fixture against an RDS instance, by every way that leads there: refused, the whole story told, and
let through by each of them once its owner has marked the database."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.fix_lab import Database
from tests.guards.fix_drivers import as_url
from tests.guards.fix_suite import SUITE, furnish, rows
from tests.guards.forwarder import forwarded
from tests.guards.inner import pytest_on, script

pytestmark = pytest.mark.matrix

Way = tuple[str, dict[str, str], str]  # the DSN, the environment, and what the refusal shows of it


def plain_way(database: Database, home: Path) -> Iterator[Way]:
    yield (dsn := database.live.dsn(database.name)), {}, shown(database, f"hostaddr=127.0.0.1 port={port(dsn)}")


def port(dsn: str) -> str:
    return str(psycopg.conninfo.conninfo_to_dict(dsn)["port"])


def shown(database: Database, to: str, host: str = "127.0.0.1") -> str:
    return f"host={host} {to} dbname={database.name} user=postgres"


def tunnel(database: Database, home: Path) -> Iterator[Way]:
    dsn = database.live.dsn(database.name)
    with forwarded(("127.0.0.1", database.live.port)) as local:
        yield dsn.replace(f"port={port(dsn)}", f"port={local}"), {}, shown(database, f"hostaddr=127.0.0.1 port={local}")


def socket_forwarder(database: Database, home: Path) -> Iterator[Way]:
    """As cloud-sql-proxy: a socket here, TLS to there."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    path = Path(tempfile.mkdtemp(prefix="rowback-way-", dir="/tmp"))
    with forwarded(("127.0.0.1", database.live.port), path=path / ".s.PGSQL.5432", tls=trusting):
        dsn = f"host={path} port=5432 user=postgres dbname={database.name}"
        yield dsn, secret(database), shown(database, "port=5432", str(path))
    shutil.rmtree(path)


def lying_name(database: Database, home: Path) -> Iterator[Way]:
    dsn = database.live.dsn(database.name).replace("host=127.0.0.1", "host=localhost-test hostaddr=127.0.0.1")
    yield dsn, {}, shown(database, f"hostaddr=127.0.0.1 port={port(dsn)}", "localhost-test")


def several_hosts(database: Database, home: Path) -> Iterator[Way]:
    actual = str(database.live.port)
    yield (
        f"host=127.0.0.1,127.0.0.1 port=1,{actual} user=postgres dbname={database.name}",
        secret(database),
        shown(database, f"hostaddr=127.0.0.1 port={actual}"),
    )


def secret(database: Database) -> dict[str, str]:
    return {"PGPASSWORD": database.live.password}


def service_file(database: Database, home: Path) -> Iterator[Way]:
    (home / "services").write_text(f"[test]\nhost=127.0.0.1\nport={database.live.port}\ndbname={database.name}\n")
    environment = {**secret(database), "PGUSER": "postgres", "PGSERVICEFILE": str(home / "services")}
    yield "service=test", environment, "service=test"


def variables_alone(database: Database, home: Path) -> Iterator[Way]:
    environment = {"PGHOST": "127.0.0.1", "PGPORT": str(database.live.port), "PGDATABASE": database.name}
    environment |= {**secret(database), "PGUSER": "postgres"}
    yield "", environment, "hostaddr=127.0.0.1"


def url_with_a_host_behind(database: Database, home: Path) -> Iterator[Way]:
    actual = database.live.port
    yield (
        f"postgresql://postgres@/{database.name}?host=127.0.0.1&port={actual}",
        secret(database),
        shown(database, f"hostaddr=127.0.0.1 port={actual}"),
    )


WAYS = [
    plain_way,
    tunnel,
    socket_forwarder,
    lying_name,
    several_hosts,
    service_file,
    variables_alone,
    url_with_a_host_behind,
]


def told(
    database: Database, asked_for: str, way: str = "", *, session: str = "the session is read-only", here: bool = True
) -> str:
    """The whole refusal of SUITE. `way`: where that is, in libpq's words, if they are not the same."""
    way = way or asked_for
    identifier, oid, made, started, server = database.rows(
        "select system_identifier::text, (select oid from pg_database where datname = current_database()),"
        " to_char(to_timestamp(system_identifier >> 32) at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),"
        " extract(epoch from pg_postmaster_start_time())::text, '127.0.0.1:' || inet_server_port()"
        " from pg_control_system()"
    )[0]
    return "\n".join(
        [
            f"refused[not-disposable]: TRUNCATE parent CASCADE was not sent to '{database.name}' on {server}",
            "  in test_inner.py::test_one (setup), fixture 'clean'",
            "  at test_inner.py:8 in clean",
            f"  asked for {asked_for}",
            f"  it is PostgreSQL 17, system identifier {identifier}, database oid {oid}, made {made}",
            "  it is managed: Amazon RDS",
            "  its WAL is archived: it is meant to be restorable",
            *([] if here else ["  no proof that it runs on this machine: no backend here serves our connection"]),
            "  no mark of its owner",
            "  it would have hit 2 tables, about 4 rows: parent, child",
            f"  no statement was sent; {session}",
            "  help: use a throw-away database; do not work around this. If this one may be destroyed, its owner says"
            f" so: rowback guard mark --dsn '{way}' --reason … --confirm '{database.name}'",
            "        or, for this user and a while: rowback guard allow"
            f" --target {identifier}/{oid}/{started} --reason … --for 30m",
        ]
    )


def mark(database: Database) -> None:
    command = ["guard", "mark", "--dsn", database.live.dsn(database.name), "--reason", "drill", "--confirm"]
    subprocess.run([sys.executable, "-m", "recovery.cli", *command, database.name], check=True, capture_output=True)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_refused_until_it_is_marked(
    database: Database, tmp_path: Path, way: Callable[[Database, Path], Iterator[Way]]
) -> None:
    furnish(database)
    with contextmanager(way)(database, tmp_path) as (dsn, environment, asked_for):
        refused = pytest_on(tmp_path, SUITE, dsn, "-k", "test_one", **environment)
        assert (refused.code, rows(database)) == (1, (3, 1)), refused.out
        special: dict[object, str] = {
            service_file: shown(database, f"port={database.live.port}"),
            variables_alone: shown(database, f"hostaddr=127.0.0.1 port={database.live.port}"),
            socket_forwarder: asked_for.replace(" port=5432", ""),  # libpq leaves out what is its default
        }
        led_to = special.get(way, "")
        assert told(database, asked_for, led_to, here=way not in (tunnel, socket_forwarder)) in refused.out
        mark(database)
        passed = pytest_on(tmp_path, SUITE, dsn, "-k", "test_one", **environment)
        assert (passed.code, rows(database)) == (0, (0, 0)), passed.out


def test_through_pgbouncer(database: Database, tmp_path: Path, pooled: Callable[[str], str]) -> None:
    furnish(database)
    dsn = pooled(database.name)
    refused = pytest_on(tmp_path, SUITE, dsn, "-k", "test_one")
    assert (refused.code, rows(database)) == (1, (3, 1)), refused.out
    asked_for = shown(database, f"hostaddr=127.0.0.1 port={port(dsn)}")
    session = "behind a pooler the session was left as it is"
    assert told(database, asked_for, session=session, here=False) in refused.out
    mark(database)
    passed = pytest_on(tmp_path, SUITE, dsn, "-k", "test_one")
    assert (passed.code, rows(database)) == (0, (0, 0)), passed.out


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "asyncpg"])
def test_behind_a_pooler_nothing_stays_with_whoever_comes_next(
    database: Database, tmp_path: Path, pooled: Callable[[str], str], driver: str
) -> None:
    """With one server connection for all, a setting of the guard's would make the application read-only."""
    furnish(database)
    acts = {
        "psycopg": "psycopg.connect(dsn, autocommit=True).execute('delete from child')",
        "psycopg2": "psycopg2.connect(dsn).cursor().execute('delete from child')",
        "asyncpg": "asyncio.run(through_asyncpg())",
    }
    attempt = (
        f"import asyncio, os, {driver}\nfrom guards.guard_session import Refused, active\n"
        "dsn = os.environ['TEST_DSN']\n"
        "async def through_asyncpg():\n"
        "    await (await asyncpg.connect(dsn, statement_cache_size=0)).execute('delete from child')\n"
        f"try:\n    {acts[driver]}\n"
        "except Refused:\n    print([judgement.evidence.pooled for judgement in active().judged.values()])"
    )
    dsn = as_url(pooled(database.name)) if driver == "asyncpg" else pooled(database.name)
    found = script(tmp_path, attempt, dsn)
    assert (found.code, found.out) == (0, "[True]\n")
    with psycopg.connect(pooled(database.name), autocommit=True, prepare_threshold=None) as application:
        assert application.execute("show lock_timeout").fetchone() == ("0",)
        application.execute("delete from child")
    assert rows(database) == (3, 0)
