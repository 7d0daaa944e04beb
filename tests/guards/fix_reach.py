"""Several databases on one server, one of them protected, and a script that sends texts to one of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tests.fix_cli import Cli
from tests.fix_plain import Plain
from tests.guards.inner import keywords_of, script

EACH = """
import json, os
from guards.guard_session import Refused
told = []
for text in json.loads(os.environ["TEXTS"]):
    try:
        send(text)
        told.append("")
    except Refused as refused:
        told.append(str(refused))
    except Exception as error:
        told.append(f"{type(error).__name__}")
print(json.dumps(told))
"""


SEND = {
    "psycopg": "import psycopg\nconnection = psycopg.connect(DSN, autocommit=True)\nsend = connection.execute\n",
    "psycopg2": "import psycopg2\nconnection = psycopg2.connect(DSN)\nconnection.autocommit = True\n"
    "send = lambda text: connection.cursor().execute(text)\n",
    "asyncpg": "import asyncio, asyncpg\nasync def go(text):\n    connection = await asyncpg.connect(**KEYWORDS)\n"
    "    try:\n        await connection.execute(text)\n    finally:\n        await connection.close()\n"
    "send = lambda text: asyncio.run(go(text))\n",
}


@pytest.fixture
def siblings(old: Plain, cli: Cli, request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """Names of databases on a long-lived server: `test` is marked, `staging` protected, `bystander` bears no mark."""
    name = request.node.name.replace("[", "_").rstrip("]").removeprefix("test_")[:40]
    names = {part: f"{name}_{part}" for part in ("test", "staging", "bystander")}
    for each in names.values():
        old.make(each, "create table orders (id int)", "insert into orders select generate_series(1, 9)")
    mark(cli, old, names["test"])
    mark(cli, old, names["staging"], "--protected")
    yield names
    with psycopg.connect(old.dsn(), autocommit=True) as server:
        for each in names.values():
            server.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(each)))


def mark(cli: Cli, server: Plain, name: str, *options: str) -> None:
    ran = cli("guard", "mark", "--dsn", server.dsn(name), "--reason", "drill", "--confirm", name, *options)
    assert ran.code == 0, ran.err


def sent(home: Path, server: Plain, name: str, driver: str, *texts: str) -> list[str]:
    """What a guarded process was told for each text: nothing, the refusal, or the server's error."""
    keywords = keywords_of(server.dsn(name))
    text = f"import os\nDSN, KEYWORDS = os.environ['TEST_DSN'], {keywords!r}\n{SEND[driver]}{EACH}"
    ran = script(home, text, server.dsn(name), TEXTS=json.dumps(texts))
    assert ran.code == 0, ran.out
    answers: list[str] = json.loads(ran.out.splitlines()[-1])
    return answers


def databases(server: Plain) -> set[str]:
    with psycopg.connect(server.dsn()) as session:
        return {name for (name,) in session.execute("select datname from pg_database")}
