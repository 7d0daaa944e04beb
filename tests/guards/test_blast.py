"""What a refused statement would have hit: closure along foreign keys, partitions, schemas and whole databases."""

from __future__ import annotations

import psycopg
import pytest

from guards.blast_radius import radius
from guards.statements import classify
from tests.fix_plain import Plain

TABLES = (
    "create table parent (id int primary key); create table child (p int references parent)",
    'create table "Weird Name; --" (n int)',
    "create schema stuff; create table stuff.grand (c int); alter table child add column id int primary key",
    "alter table stuff.grand add foreign key (c) references child",
    "create table parted (id int) partition by range (id)",
    "create table part_a partition of parted for values from (0) to (9)",
    "insert into parent select generate_series(1, 1000); insert into parted select 1 from generate_series(1, 5)",
    "insert into child select 1, g from generate_series(1, 20) g; insert into stuff.grand values (1), (2); analyze",
)


@pytest.fixture(scope="module")
def furnished(plain: Plain) -> str:
    return plain.make("blast", *TABLES)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("truncate parent cascade", "3 tables, about 1,022 rows: parent, child, stuff.grand"),
        ("delete from parent", "1 table, about 1,000 rows: parent"),
        ("truncate parted", "2 tables, about 5 rows: part_a, parted"),
        ("drop schema stuff", "1 table, about 2 rows: stuff.grand"),
        (
            "drop schema public cascade",
            '6 tables, about 1,027 rows: parent, child, part_a, stuff.grand, "Weird Name; --", parted',
        ),
        (
            "drop database blast",
            '6 tables, about 1,027 rows: parent, child, part_a, stuff.grand, "Weird Name; --", parted',
        ),
        ('drop table "Weird Name; --"', '1 table, about 0 rows: "Weird Name; --"'),
        ('drop table "stuff.grand"', None),  # which is another name than stuff.grand
        ("drop table nowhere.to_be_found", None),
        ("select pg_terminate_backend(1)", None),
    ],
)
def test_radius(furnished: str, text: str, told: str | None) -> None:
    with psycopg.connect(furnished) as session:
        expected = told and f"it would have hit {told}"
        assert radius(session, classify(text).worst) == expected
