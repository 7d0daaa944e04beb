"""The whole corpus through each driver: nothing of it reaches an unproven server, by that server's own log, and
nothing is refused on a proven one."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest

from guards.statements import Danger, classify
from tests.fix_plain import Plain
from tests.guards.fix_corpus import CORPUS
from tests.guards.forwarder import forwarded
from tests.guards.inner import script

pytestmark = pytest.mark.matrix

TABLES = (
    "create table a (id int primary key, x text, code text, at timestamptz)",
    "create table b (id int primary key, a_id int)",
    "create table parted (id int) partition by range (id)",
    "insert into a values (1, 'x', 'c', now())",
    "insert into b values (1, 1)",
)
SENDERS = {
    "psycopg": """
import psycopg
class Driver:
    def connect(self):
        self.connection = psycopg.connect(DSN, autocommit=True)
    def send(self, text):
        self.connection.execute(text.encode())
    errors = (psycopg.Error, ValueError)
""",
    "psycopg2": """
import psycopg2
class Driver:
    def connect(self):
        self.connection = psycopg2.connect(DSN)
        self.connection.autocommit = True
    def send(self, text):
        self.connection.cursor().execute(text)
    errors = (psycopg2.Error, ValueError)
""",
    "asyncpg": """
import asyncio, asyncpg, psycopg
way = psycopg.conninfo.conninfo_to_dict(DSN)
loop = asyncio.new_event_loop()
class Driver:
    def connect(self):
        self.connection = loop.run_until_complete(asyncpg.connect(
            host=way["host"], port=way["port"], user=way["user"], database=way["dbname"]))
    def send(self, text):
        loop.run_until_complete(asyncio.wait_for(self.connection.execute(text), 5))
    errors = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, ValueError, OSError,
              AttributeError)  # asyncpg's answer to an empty statement
""",
}
EACH = """
import json, os, sys
from guards.guard_session import Refused, active
driver, refused = Driver(), []
driver.connect()
for text in json.load(open("corpus.json")):
    try:
        driver.send(text)
    except Refused:
        refused.append(text)
    except driver.errors as error:
        if any(word in str(error) for word in ("closed", "terminat", "ended", "lost")):
            driver.connect()
json.dump(refused, open("refused.json", "w"))
"""


@pytest.mark.parametrize("driver", SENDERS)
def test_nothing_but_reads_reaches_an_unproven_server(plain: Plain, tmp_path: Path, driver: str) -> None:
    name = f"unproven_{driver}"
    plain.make(name, *TABLES, f"alter database {name} set log_statement = 'all'")
    with psycopg.connect(plain.dsn(name)) as server:
        before = counts(server)
    with forwarded(("127.0.0.1", plain.port)) as port:
        refused = sent(tmp_path, driver, plain.dsn(name, port=port))
    assert refused == [text for danger, text in CORPUS if danger != "read"], "each of them, and none of the reads"
    arrived = [text for text in plain.statements_in(name) if "rowback" not in text]
    assert {text for text in arrived if classify(text).danger is not Danger.READ} == set()
    assert {text.strip() for danger, text in CORPUS if danger != "read"} & set(arrived) == set()
    assert len(arrived) > 60, "the reads did arrive"
    with psycopg.connect(plain.dsn(name)) as server:
        assert counts(server) == before


@pytest.mark.parametrize("driver", SENDERS)
def test_nothing_is_refused_where_it_may_be_destroyed(plain: Plain, tmp_path: Path, driver: str) -> None:
    """As an owner who is no superuser: the cluster is needed for other tests."""
    name = f"proven_{driver}"
    plain.make(
        name,
        *TABLES,
        f"create role {name} login",
        f"alter database {name} owner to {name}",
        f"grant all on schema public to {name}",
        f"alter table a owner to {name}",
        f"alter database {name} set statement_timeout = '2s'",
    )
    # What is sent to another database is judged there; one that is not there proves nothing.
    elsewhere = ["SELECT dblink_exec('dbname=x', 'DROP TABLE a')"]
    assert sent(tmp_path, driver, plain.dsn(name).replace("user=app", f"user={name}")) == elsewhere


def sent(home: Path, driver: str, dsn: str) -> list[str]:
    """The corpus through `driver`; what the guard refused of it."""
    (home / "corpus.json").write_text(json.dumps([text for _, text in CORPUS]))
    found = script(home, f"import os\nDSN = os.environ['TEST_DSN']\n{SENDERS[driver]}{EACH}", dsn)
    assert (home / "refused.json").exists(), found.out
    return [str(text) for text in json.loads((home / "refused.json").read_text())]


def counts(server: psycopg.Connection) -> list[tuple[object, ...]]:
    return server.execute(
        "select (select count(*) from a), (select count(*) from b), (select count(*) from pg_class),"
        " (select count(*) from pg_proc), (select count(*) from pg_roles), (select count(*) from pg_database)"
    ).fetchall()
