"""Every way to send a statement, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import psycopg

from tests.fix_plain import Plain
from tests.guards import ways
from tests.guards.inner import keywords_of, script

EACH = """
import json, os
from guards import Refused
outcomes = {}
for name in json.loads(os.environ["WAYS"]):
    try:
        globals()[name](f"doomed_{name}")
        outcomes[name] = "passed"
    except Refused:
        outcomes[name] = "refused"
    except BaseException as error:
        outcomes[name] = f"{type(error).__name__}: {error}"
print(json.dumps(outcomes))
"""


def furnished(server: Plain, name: str, driver: str) -> str:
    """A database with a table of nine rows for each way."""
    tables = [f"doomed_{way}" for way in ways.names(driver)]
    return server.make(
        name,
        *(f"create table {t} as select generate_series(1, 9) as id" for t in tables),
        *(f"alter database {name} set {setting}" for setting in ("log_statement = 'all'", "statement_timeout = '20s'")),
    )


def outcomes(home: Path, dsn: str, driver: str, named: Sequence[str] = (), **of_asyncpg: int) -> dict[str, str]:
    """What each way of a driver (those `named`) ended with, in one guarded process."""
    keywords = keywords_of(dsn)
    keywords |= of_asyncpg
    text = f"import os\nDSN, KEYWORDS = os.environ['TEST_DSN'], {keywords!r}\n{ways.PYTHON[driver]}{EACH}"
    found = script(home, text, dsn, WAYS=json.dumps(named or ways.names(driver)))
    assert found.code == 0, found.out
    answers: dict[str, str] = json.loads(found.out.splitlines()[-1])
    return answers


def rows(dsn: str, driver: str) -> dict[str, int | None]:
    """How many are left for each way; None where the table is gone."""
    with psycopg.connect(dsn, autocommit=True) as session:
        left: dict[str, int | None] = {}
        for way in ways.names(driver):
            try:
                left[way] = session.execute(f"select count(*) from doomed_{way}").fetchone()[0]  # type: ignore[index]
            except psycopg.errors.UndefinedTable:
                left[way] = None
        return left
