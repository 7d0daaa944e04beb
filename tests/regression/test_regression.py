"""PostgreSQL's own regression database, damaged twice: every row is back, or named, and no table stops another."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from recovery.model.target import format_utc
from runbooks.lab.background import pass_a_second
from runbooks.lab.lab_server import Lab
from tests.fix_cli import Cli, Ran
from tests.fix_lab import Database, Live, discard, start_instance
from tests.regression import damage
from tests.regression.build import default_cache, load_regression, regression_sources
from tests.schema_dump import checksum_by_name

pytestmark = [pytest.mark.regression, pytest.mark.pg15, pytest.mark.timeout(0)]
NAME = "regression"
Sums = dict[str, Any]


@pytest.fixture(scope="module")
def live(lab15: Lab) -> Iterator[Live]:
    """An instance with the regression database; skips where its sources cannot be had."""
    sources = regression_sources(default_cache())
    if sources is None:
        pytest.skip("Debian's source package of PostgreSQL 15 cannot be had here")
    started = start_instance(lab15)
    load_regression(lab15.engine.instances[started.identifier].cluster.dsn, NAME, sources)
    yield started
    discard(lab15, lambda name: name == started.identifier)


def connected(live: Live) -> psycopg.Connection[Any]:
    return live.connect(NAME)


def restored(cli: Cli, target: str, *extra: str) -> Ran:
    ran = cli("restore", cli.live.identifier, "--at", target, "--database", NAME, "--confirm", NAME, *extra)
    if "REGRESSION_LOG" in os.environ:
        Path(os.environ["REGRESSION_LOG"]).write_text(ran.out + ran.err)
    return ran


def assert_equal_or_named(cli: Cli, before: Sums, after: Sums) -> None:
    """Tables that do not hold what they held are in the account with rows that are not back, and every sum is right."""
    report = json.loads(cli("cases", "--json").out)[-1]
    account = {table["table"]: table for table in report["account"]}
    for table in account.values():
        not_back = sum(each["rows"] for each in (*table["blocked"], *table["left_out"])) + table["conflict"]
        assert table["at_target"] == table["back"] + table["never_gone"] + table["kept_newer"] + not_back, table
        table["not_back"] = not_back
    told = " ".join([*report["unexamined"], *report["notices"]])
    silent = [
        name
        for name, held in before.items()
        if after.get(name) != held and not account.get(name, {}).get("not_back") and name not in told
    ]
    assert silent == []
    differing = [name for name, held in before.items() if after.get(name) != held]
    assert len(differing) < len(before) / 10, differing


def test_half_the_rows_of_every_table_come_back(cli: Cli, live: Live) -> None:
    with connected(live) as database:
        before = damage.checksums(database)
        target = format_utc(pass_a_second())
        deleted = damage.halve(database)
        damaged = damage.checksums(database)
        assert sum(deleted.values()) > 100_000
        ran = restored(cli, target, "--accept-partial")
        assert ran.code == 0, ran.err[-3000:]
        assert_equal_or_named(cli, before, damage.checksums(database))
        case = json.loads(cli("cases", "--json").out)[-1]["case"]
        undone = cli("undo", case, "--confirm", NAME, "--accept-partial")
        if "REGRESSION_LOG" in os.environ:
            Path(os.environ["REGRESSION_LOG"] + ".undo").write_text(undone.out + undone.err)
        assert undone.code == 0, undone.err[-3000:]
        after = damage.checksums(database)
        silent = [name for name, held in damaged.items() if after[name] != held and f"{name}  " not in undone.out]
        assert silent == [], undone.out[-3000:]
        assert len([name for name, held in damaged.items() if after[name] != held]) < len(damaged) / 20
        assert cli("undo", case, "--confirm", NAME, "--accept-partial").code == 0


def test_a_column_of_every_table_set_to_null_behind_savepoints(cli: Cli, live: Live) -> None:
    with connected(live) as database:
        before = damage.checksums(database)
        target = format_utc(pass_a_second())
        first, changed = damage.null_first_column(database)
        last = database.execute("select pg_current_xact_id()::text::bigint - 1").fetchone()
        assert sum(changed.values()) > 100_000
        assert last
        ran = restored(cli, target, "--mode", "repair", "--incident-xid", f"{first}..{last[0]}", "--accept-partial")
        assert ran.code == 0, ran.err[-3000:]
        assert_equal_or_named(cli, before, damage.checksums(database))


OBJECTS = """
select relkind::text || ' ' || c.oid::regclass from pg_class c join pg_namespace n on n.oid = relnamespace
  where nspname !~ '^(pg_|information_schema)' and relkind <> 't'
union select 'function ' || p.oid::regprocedure from pg_proc p join pg_namespace n on n.oid = pronamespace
  where nspname !~ '^(pg_|information_schema)'
union select 'constraint ' || conname || ' of ' || conrelid::regclass || ': ' || pg_get_constraintdef(oid)
  from pg_constraint where conrelid <> 0 and conparentid = 0
union select 'trigger ' || pg_get_triggerdef(oid) from pg_trigger where not tgisinternal
union select 'view ' || c.oid::regclass || ': ' || pg_get_viewdef(c.oid) from pg_class c join pg_namespace n
  on n.oid = relnamespace where relkind in ('v', 'm') and nspname !~ '^(pg_|information_schema)'
union select 'column ' || attrelid::regclass || '.' || attname || ' ' || format_type(atttypid, atttypmod) || attnotnull
  from pg_attribute a join pg_class c on c.oid = attrelid join pg_namespace n on n.oid = relnamespace
  where attnum > 0 and not attisdropped and relkind in ('r', 'p') and nspname !~ '^(pg_|information_schema)'
"""


def test_the_largest_schema_dropped_with_cascade_comes_back(cli: Cli, live: Live) -> None:
    """Every row of every table, and every object but those that are named: what superusers alone may make."""
    subject = Database(live, NAME)
    ((schema, count),) = subject.rows(
        "select nspname, count(*) from pg_class c join pg_namespace n on n.oid = relnamespace"
        " where relkind in ('r', 'p', 'v', 'm') and nspname !~ '^(pg_|information_schema)' group by 1"
        " order by 2 desc limit 1"
    )
    assert count > 300
    subject.as_superuser(f"alter database {NAME} owner to {live.user}")
    before, objects = _by_name(subject), {row[0] for row in subject.rows(OBJECTS)}
    target = format_utc(pass_a_second())
    subject.as_superuser(f'drop schema "{schema}" cascade')
    assert len(_by_name(subject)) < len(before) / 4
    ran = restored(cli, target, "--mode", "recreate", "--accept-partial")
    assert ran.code == 0, ran.err[-3000:]
    left = json.loads(cli("cases", "--json").out)[-1]["differing"]
    assert all("it is not made: " in line for line in left), left
    names = [line.split(" ", 1)[1].split("(")[0].split(": it is not made")[0].split(".")[-1] for line in left]
    now = _by_name(subject)
    silent = [name for name in before if now.get(name) != before[name] and name.split(".")[-1] not in names]
    assert silent == []
    assert len(now) > len(before) * 0.98
    gone = objects - {row[0] for row in subject.rows(OBJECTS)}
    assert len(gone) < len(objects) / 50
    assert [text for text in sorted(gone) if not any(name.strip('"') in text for name in names)] == []


def _by_name(database: Database) -> dict[str, list[tuple[object, ...]]]:
    tables = database.rows(
        "select format('%I.%I', nspname, relname) from pg_class c join pg_namespace n on n.oid = relnamespace"
        " where relkind = 'r' and relpersistence = 'p' and nspname !~ '^(pg_|information_schema|rowback_)' order by 1"
    )
    return {str(name): checksum_by_name(database, str(name)) for (name,) in tables}
