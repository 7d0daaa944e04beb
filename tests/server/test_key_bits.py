"""Integer keys compared as bits: exactly the keys that one side alone has, and no others, at every edge."""

from __future__ import annotations

from pathlib import Path

import pytest

from recovery.changeset.change_set import ChangeSet
from recovery.changeset.row_change import json_array
from recovery.changeset.row_lines import DifferingRow
from recovery.compare.candidate_rows import GoneKeys
from recovery.model.values import TableName
from recovery.postgres.comparison.key_buckets import KeyBits, extent
from recovery.postgres.comparison.key_lookup import lines_by_key
from recovery.postgres.comparison.table_scan import Field, Side
from recovery.postgres.connect import Session, connect
from recovery.postgres.copy_line import line_of, values_of
from recovery.postgres.read_catalog import read_catalog
from tests.fix_lab import Database

EDGES = {
    "dense": (list(range(1, 500)), [1, 64, 65, 128, 499]),
    "negative": (list(range(-300, 300)), [-300, -1, 0, 63, 299]),
    "around the smallest bigint": ([-(2**63) + n for n in range(400)], [-(2**63), -(2**63) + 63, -(2**63) + 399]),
    "around the largest bigint": ([2**63 - 1 - n for n in range(400)], [2**63 - 1, 2**63 - 64]),
    "all gone but one": (list(range(100)), list(range(1, 100))),
}


def side(session: Session, name: str) -> Side:
    table = next(each for each in read_catalog(session).tables if each.name.name == name)
    fields = tuple(Field(column.name, column) for column in table.columns)
    return Side(session, table.name, fields[:1], fields)


@pytest.mark.parametrize("keys", EDGES)
def test_exactly_the_keys_that_one_side_alone_has(database: Database, keys: str) -> None:
    there, gone = EDGES[keys]
    values = ", ".join(f"(({key})::bigint)" for key in there)
    database.run(
        "create table past (id bigint primary key)",
        "create table now (id bigint primary key)",
        f"insert into past values {values}",
        f"insert into now select id from past where id not in ({', '.join(map(str, gone))})",
    )
    with connect(database.target()) as a, connect(database.target()) as b:
        sides = (side(a, "past"), side(b, "now"))
        bits = KeyBits.over(sides, [extent(each) for each in sides])
        assert bits is not None
        batches = GoneKeys.between(bits, *map(bits.of, sides)).batches(2)
        assert [key for batch in batches for key in batch] == [f'["{key}"]' for key in sorted(gone)]


def test_scattered_keys_are_not_compared_as_bits(database: Database) -> None:
    database.run(
        "create table past (id bigint primary key)",
        "insert into past select g * 1000::bigint from generate_series(1, 1000) g",
        "create table now (id text primary key)",
        "insert into now values ('1')",
    )
    with connect(database.target()) as session:
        for name in ("past", "now"):
            one = side(session, name)
            assert KeyBits.over((one, one), [extent(one)] * 2) is None


def test_the_servers_keys_and_lines_are_ours(database: Database, tmp_path: Path) -> None:
    """Keys are looked up in the change set by their text, whoever wrote it; rows are equal when their lines are."""
    characters = [*range(1, 0x2FFF, 3)]
    texts = ["".join(map(chr, range(1, 128))), '"\\\b\f\n\r\t', "\x7f\x80\u2028\u2029", "한글 𝄞", "", "\\N", "\\."]
    texts += ["".join(map(chr, characters[n : n + 40])) for n in range(0, len(characters), 40)]
    database.run("create table t (k text primary key, a int, b text)")
    with database.connect() as connection:
        connection.cursor().executemany("insert into t values (%s, null, %s)", [(text, text) for text in texts])
    with connect(database.target()) as session:
        rows = list(lines_by_key(side(session, "t"), [json_array((text,)) for text in texts]))
    assert {(row.key, row.line) for row in rows} == {(json_array((t,)), line_of((t, None, t))) for t in texts}
    assert [values_of(row.line) for row in sorted(rows)] == [(text, None, text) for text in texts]
    with ChangeSet(tmp_path / "changes.sqlite") as changes:
        shape = changes.add_table(read_table(database), ("k",), ("k", "a", "b"))
        changes.lines.add(shape.no, (DifferingRow(row.key, row.line, None, None) for row in rows))
        for text in texts:
            change = changes.find(shape.no, (text,))
            assert change is not None
            assert change.target == (text, None, text)


def read_table(database: Database) -> TableName:
    with connect(database.target()) as session:
        return side(session, "t").table
