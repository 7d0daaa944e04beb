"""One contract for all drivers and ways: an unproven server gets nothing but reads, a proven one everything, and the
table in docs/guards.md says what was seen. Judged by the server's own log and by the rows."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fix_lab import Database
from tests.fix_plain import Plain
from tests.guards import ways
from tests.guards.fix_contract import furnished, outcomes, rows
from tests.guards.inner import script


@pytest.mark.parametrize("driver", ways.PYTHON)
def test_every_way_to_an_unproven_server(old: Plain, tmp_path: Path, driver: str) -> None:
    name = f"contract_{driver.lower()}"
    dsn = furnished(old, name, driver)
    before = len(old.statements_in(name))
    ended, left = outcomes(tmp_path, dsn, driver), rows(dsn, driver)
    log = [
        text for text in old.statements_in(name)[before:] if not re.match(r"select count\(\*\) from doomed_\w+$", text)
    ]
    for way in ways.names(driver):
        reached = [text for text in log if f"doomed_{way}" in text and "unnest(" not in text]
        match ways.verdict(driver, way):
            case ways.REFUSED:
                assert (ended[way], left[way], reached) == ("refused", 9, []), way
            case ways.HELD:
                assert "cannot execute DELETE in a read-only transaction" in ended[way], (way, ended[way])
                assert (left[way], len(reached)) == (9, 1), way
            case _:
                assert (ended[way], left[way]) == ("passed", 0), f"{way} is covered now: say so"


@pytest.mark.parametrize("driver", ways.PYTHON)
def test_every_way_to_a_proven_server(plain: Plain, tmp_path: Path, driver: str) -> None:
    """The same ways where everything may be destroyed: none of them is refused, or broken by the guard."""
    dsn = furnished(plain, f"free_{driver.lower()}", driver)
    ended, left = outcomes(tmp_path, dsn, driver), rows(dsn, driver)
    own = {
        "named_cursor",
        "server_cursor",
        "two_phase",
        "cursor",
        "prepared_binary",
    }  # these end in a rollback, or wait
    for way in ways.names(driver):
        assert ended[way] == "passed" or way in own, (way, ended[way])
        assert way in own or left[way] in (0, None, 10), way


@pytest.mark.matrix
@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "asyncpg"])
def test_every_way_behind_a_pooler(
    database: Database, tmp_path: Path, pooled: Callable[[str], str], driver: str
) -> None:
    """Nothing is set there, so the text alone decides: what is spelled out through a guarded interface is refused."""
    tables = [f"doomed_{way}" for way in ways.names(driver)]
    database.run(*(f"create table {t} as select generate_series(1, 9) as id" for t in tables))
    through, ended = pooled(database.name), dict[str, str]()
    for way in ways.names(driver):  # a process each: with one connection to the server, nobody may sit on it
        ended |= outcomes(tmp_path, through, driver, (way,), statement_cache_size=0)
    left = rows(database.live.dsn(database.name), driver)
    for way in ways.names(driver):
        if ways.verdict(driver, way) == ways.REFUSED:
            assert left[way] == 9, (way, ended[way])
            assert ended[way] == "refused" or way in ("options_in_the_dsn", "server_settings"), (way, ended[way])


@pytest.mark.matrix
def test_a_poolers_console_is_no_database(database: Database, tmp_path: Path, pooled: Callable[[str], str]) -> None:
    act = (
        "import os, psycopg, psycopg2\nDSN = os.environ['TEST_DSN']\n"
        "c = psycopg.connect(DSN, autocommit=True, cursor_factory=psycopg.ClientCursor)\n"
        "print(bool(c.execute('show pools').fetchall()))\n"
        "d = psycopg2.connect(DSN); d.autocommit = True\ncursor = d.cursor()\ncursor.execute('show pools')\n"
        "print(bool(cursor.fetchall()))\n"
    )
    assert script(tmp_path, act, pooled("pgbouncer")).out == "True\nTrue\n"


def test_the_table_in_the_docs_is_what_was_seen() -> None:
    page = (Path(__file__).parents[2] / "docs" / "guards.md").read_text()
    (table,) = re.findall(r"<!-- ways -->\n(.*?)\n<!-- /ways -->", page, re.DOTALL)
    assert table == ways.rendered(), "python -m tests.guards.ways prints it"
    assert os.environ.get("ROWBACK_GUARD") is None
