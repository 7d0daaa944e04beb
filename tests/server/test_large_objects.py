"""Large objects that lost rows pointed to come back under their numbers, with content, owner and grants."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from recovery.errors import ErrorId, RowbackError
from recovery.model.target import format_utc
from runbooks.lab.background import pass_a_second
from tests.fix_cli import Cli, restoring
from tests.fix_lab import Database
from tests.fix_repair import Past

BIG = 2 * 2**20 + 7  # more than one piece
CONTENT = "select lo::bigint, encode(sha256(lo_get(lo)), 'hex'), length(lo_get(lo)) from docs order by id"
RIGHTS = "select lomowner::regrole::text, lomacl::text from pg_largeobject_metadata order by oid"


def store(database: Database, *contents: bytes) -> list[int]:
    with database.connect() as connection:
        connection.execute("create domain lo_number as oid")
        connection.execute("create table docs (id int primary key, lo lo_number, relation oid)")
        numbers = []
        for i, content in enumerate(contents, 1):
            row = connection.execute("select lo_from_bytea(0, %s)::bigint", (content,)).fetchone()
            assert row
            connection.execute("insert into docs values (%s, %s, 'pg_class'::regclass)", (i, row[0]))
            numbers.append(row[0])
    return numbers


def fetched(database: Database) -> list[tuple[Any, ...]]:
    return database.rows(CONTENT)


@pytest.mark.parametrize("rate", [None, 2**30])
def test_objects_of_lost_rows_come_back(past: Past, database: Database, rate: int | None) -> None:
    contents = [os.urandom(BIG), b"", b"short", b"stays", b"was replaced"]
    numbers = store(database, *contents)
    role = f"reader_{database.name}"
    database.run(
        f"create role {role}",
        f"grant select on large object {numbers[0]} to {role}",
        f"grant select, update on large object {numbers[2]} to public",
    )
    with past() as times:
        held, rights = fetched(database), database.rows(RIGHTS)
        database.run(
            *(f"select lo_unlink({number})" for number in numbers[:3]),
            f"select lo_put({numbers[4]}, 0, 'NEW')",
            "delete from docs where id <> 4",
        )
        plan = times.diff()
        assert [notice for notice in plan.notices if "large object" in notice] == [
            "3 large objects that these rows point to are gone: they come back as well",
            f"large objects {numbers[4]} hold something else than at T: they stay as they are",
        ]
        times.apply(rate=rate)
        assert times.done[-1].large_objects == 3
        after = fetched(database)
        assert after[:4] == held[:4]
        assert database.rows("select lo_get(lo) from docs where id = 5") == [(b"NEW replaced",)]
        assert database.rows(RIGHTS) == rights
    database.run(*(f"revoke all on large object {numbers[i]} from {role}" for i in (0,)), f"drop role {role}")


def test_an_object_of_somebody_else_is_refused_and_nothing_is_written(past: Past, database: Database) -> None:
    (number,) = store(database, b"content")
    role = f"owner_{database.name}"
    database.as_superuser(f"create role {role}", f"alter large object {number} owner to {role}")
    try:
        with past() as times:
            database.as_superuser(f"select lo_unlink({number})")
            database.run("delete from docs")
            times.diff()
            with pytest.raises(RowbackError) as refused:
                times.apply()
            assert refused.value.id is ErrorId.PRIVILEGE_MISSING
            assert refused.value.fact == f"large object {number} of '{role}' cannot be brought back by 'postgres'"
            assert refused.value.help == f"grant {role} to postgres"
            assert database.rows("select count(*) from docs") == [(0,)]
            database.as_superuser(f"grant {role} to postgres")
            times.apply()
            assert fetched(database)[0][0] == number
            assert database.rows(RIGHTS)[0][0] == role
    finally:
        database.as_superuser("select lo_unlink(oid) from pg_largeobject_metadata")
        database.as_superuser(f"drop role {role}")


def test_objects_of_rows_that_are_skipped_stay_away(past: Past, database: Database) -> None:
    numbers = store(database, b"one", b"two", b"three")
    with past() as times:
        database.run("select lo_unlink(lo) from docs", "delete from docs where id > 1")
        times.diff()
        database.run("insert into docs values (2, null)")
        times.apply()
        assert times.done[-1].large_objects == 1
        assert database.rows("select oid::bigint from pg_largeobject_metadata") == [(numbers[2],)]
        database.run("select lo_unlink(oid) from pg_largeobject_metadata")


def test_a_truncated_table_brings_its_objects(cli: Cli, database: Database) -> None:
    store(database, os.urandom(5000), b"two")
    held = fetched(database)
    target = pass_a_second()
    database.run("select lo_unlink(lo) from docs", "truncate docs")
    ran = cli(*restoring(cli, database, target))
    assert ran.code == 0, ran.err
    assert "2 rows, 2 large objects, tables locked" in ran.err
    assert fetched(database) == held
    assert json.loads(cli("cases", "--json").out)[0]["target_time"] == format_utc(target)
