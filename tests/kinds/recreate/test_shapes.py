"""What was dropped comes back as it was: one file a shape, judged by pg_dump and by checksums taken before the loss."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from runbooks.lab.background import pass_a_second
from tests.fix_cli import Cli, restoring
from tests.fix_lab import Database
from tests.schema_dump import by_psql, checksum_by_name, definitions, in_any_order

pytestmark = pytest.mark.kinds

SHAPES = sorted((Path(__file__).parent / "shapes").glob("*.sql"))
# What others make and write meanwhile, which stays.
GOOD = (
    "create schema since",
    "create table since.bystander (id int primary key, t int)",
    "insert into since.bystander select g, g from generate_series(1, 25) g",
    "create view since.watcher as select count(*) from since.bystander",
)


def parts(path: Path) -> tuple[str, str, list[str]]:
    text = path.read_text()
    setup, _, rest = text.removeprefix("-- setup\n").partition("-- incident\n")
    tables = re.findall(r"^-- tables: (.*)$", rest, re.MULTILINE)
    return setup, re.sub(r"^-- tables:.*$", "", rest, flags=re.MULTILINE), tables


def checksums(database: Database) -> dict[str, list[tuple[object, ...]]]:
    tables = database.rows(
        "select format('%I.%I', nspname, relname) from pg_class c join pg_namespace n on n.oid = relnamespace"
        " where relkind in ('r', 'm') and relpersistence = 'p' and relispopulated"
        " and nspname !~ '^(pg_|information_schema|rowback_|since)' order by 1"
    )
    return {str(name): checksum_by_name(database, str(name)) if name else [] for (name,) in tables}


def counters(database: Database) -> list[tuple[Any, ...]]:
    return database.rows("select schemaname, sequencename, last_value, increment_by from pg_sequences order by 1, 2")


def assert_counters(now: list[tuple[Any, ...]], then: list[tuple[Any, ...]]) -> None:
    """Where they stood or further: WAL holds sequences up to 32 numbers ahead (SEQ_LOG_VALS)."""
    assert [row[:2] for row in now] == [row[:2] for row in then]
    for (*name, value, step), (*_, before, _) in zip(now, then, strict=True):
        assert (value is None) == (before is None), name
        if value is not None:
            assert all(isinstance(number, int) for number in (value, before, step))
            assert 0 <= (value - before) * (1 if step > 0 else -1) <= 33 * abs(step), name


@pytest.mark.parametrize("shape", SHAPES, ids=lambda path: path.stem)
def test_it_comes_back_as_it_was(cli: Cli, database: Database, shape: Path) -> None:
    setup, incident, tables = parts(shape)
    by_psql(database, setup)
    before = definitions(database), checksums(database), counters(database)
    target = pass_a_second()
    by_psql(database, incident)
    assert definitions(database) != before[0]
    database.run(*GOOD)
    wanted = [word for name in tables for word in ("--table", name)]
    ran = cli(*restoring(cli, database, target, "--mode", "recreate", *wanted))
    assert ran.code == 0, ran.err
    assert "is back as of" in ran.out
    assert in_any_order(definitions(database, "-N", "since")) == in_any_order(before[0])
    assert checksums(database) == before[1]
    assert_counters(counters(database), before[2])
    assert database.rows("select * from since.watcher") == [(25,)]
