"""Unique values, renamed entities, names and types that break careless SQL."""

from __future__ import annotations

from typing import Any

import pytest

from recovery.errors import RowbackError
from recovery.model.modes.reload_mode import Mode
from tests.fix_lab import Database
from tests.fix_repair import Past, xid_of
from tests.server.repair_attacks.attacks import reasons


def test_an_old_orphan_under_a_key_that_is_not_valid_is_not_ours(past: Past, database: Database) -> None:
    with past(
        "create table p (id int primary key)",
        "create table c (id int primary key, p int, x int)",
        "insert into p values (1)",
        "insert into c values (1, 1, 1), (2, 99, 2)",
        "alter table c add foreign key (p) references p not valid",
    ) as times:
        bad = xid_of(database.live, database, "delete from c where id = 1", "update c set x = 0")
        times.diff(mode=Mode.REPAIR, incident_xids=(bad,))
        times.apply()
        assert database.rows("select * from c order by 1") == [(1, 1, 1), (2, 99, 2)]


def test_unique_values_that_were_shifted_are_left_and_told(past: Past, database: Database) -> None:
    with past("create table t (id int primary key, pos int unique)", "insert into t values (1, 1), (2, 2)") as times:
        bad = xid_of(database.live, database, "update t set pos = pos - 1")
        times.diff(mode=Mode.REPAIR, incident_xids=(bad,))
        assert reasons(times) == {"unique key t_pos_key is held by (2) until that is repaired itself"}
        times.apply()
        assert database.rows("select * from t order by 1") == [(1, 0), (2, 2)]
        # the key is free now: the second round does the rest
        times.diff(mode=Mode.REPAIR, incident_xids=(bad,))
        times.apply()
        assert database.rows("select * from t order by 1") == [(1, 1), (2, 2)]


def test_deferrable_unique_values_change_places(past: Past, database: Database) -> None:
    with past(
        "create table t (id int primary key, pos int unique deferrable)", "insert into t values (1, 1), (2, 2), (3, 3)"
    ) as times:
        bad = xid_of(database.live, database, "update t set pos = 4 - pos", "update t set pos = pos where id = 2")
        times.diff(mode=Mode.REPAIR, incident_xids=(bad,))
        assert reasons(times) == set()
        times.apply()
        assert database.rows("select * from t order by 1") == [(1, 1), (2, 2), (3, 3)]


def test_unique_keys_that_treat_nulls_as_equal_and_rivals_at_t(past: Past, database: Database) -> None:
    with past(
        "create table t (id int primary key, a int, b int, unique nulls not distinct (a, b))",
        "create table u (id int primary key, a int)",
        "insert into t values (1, 1, null), (2, 2, 2)",
        "insert into u values (1, 1), (2, 1), (3, 3)",
    ) as times:
        database.run(
            "delete from t", "insert into t values (9, 1, null)", "delete from u", "create unique index on u (a)"
        )
        times.diff()
        assert reasons(times) == {"unique key t_a_b_key is taken by (9)", "unique key u_a_idx is wanted by (1) as well"}
        times.apply()
        assert database.rows("select id from t order by 1") == [(2,), (9,)]
        assert database.rows("select id from u order by 1") == [(1,), (3,)]


@pytest.mark.parametrize("action", ["", "on delete cascade"])
def test_an_entity_that_was_made_again_under_another_number(past: Past, database: Database, action: str) -> None:
    with past(
        "create table p (id int primary key, code text unique)",
        f"create table c (id int primary key, p int references p {action}, x int)",
        "insert into p values (1, 'A'), (5, 'E')",
        "insert into c values (1, 1, 1)",
    ) as times:
        database.run(
            "delete from c",
            "delete from p where id = 1",
            "insert into p values (2, 'A')",
            "insert into c values (1, 2, 1)",
            "delete from p where id = 5",
        )
        times.diff(mode=Mode.REPLACE)
        assert "it is still referenced from public.c" in reasons(times)
        times.apply()
        assert database.rows("select id, code from p order by 1") == [(2, "A"), (5, "E")]
        assert database.rows("select p from c") == [(2,)]


def test_what_children_reference_by_another_key_is_not_pulled_from_under_them(past: Past, database: Database) -> None:
    with past(
        "create table p (id int primary key, code text unique, x int)",
        "create table c (id int primary key, code text references p (code))",
        "insert into p values (1, 'A', 1), (2, 'B', 2)",
    ) as times:
        bad = xid_of(database.live, database, "update p set code = 'X' || code, x = 0")
        database.run("insert into c values (1, 'XA')")
        times.diff("p", mode=Mode.REPAIR, incident_xids=(bad,))
        assert reasons(times) == {"it is still referenced from public.c"}
        times.apply()
        assert database.rows("select * from p order by 1") == [(1, "XA", 0), (2, "B", 2)]


def test_undo_without_a_key_takes_back_what_it_can(past: Past, database: Database) -> None:
    with past("create table t (a int, b text)", "insert into t values (1, 'x'), (2, 'y')") as times:
        database.run("delete from t")
        times.diff()
        times.apply()
        database.run("update t set b = 'edited' where a = 1")
        times.undo()
        assert database.rows("select * from t") == [(1, "edited")]


def test_a_column_that_went_between_diff_and_apply(past: Past, database: Database) -> None:
    with past("create table t (id int primary key, a int)", "insert into t values (1, 1)") as times:
        database.run("delete from t")
        times.diff()
        database.run("alter table t rename a to b")
        with pytest.raises(RowbackError) as refused:
            times.apply()
        assert refused.value.fact == "the columns of public.t changed since it was compared"
        assert refused.value.facts == ("column a was dropped or renamed",)


NAMES = [
    'create table "t%d" ("id%" int primary key, "x%s" text, "%(n)s" int)',
    "create table z ()",
    "create table k (n int primary key, k0 int unique, rowback int, shown int, s int, t int, op text, skip text)",
    "create schema ext",
    "create extension ltree schema ext",
    "create table l (path ext.ltree primary key, x int)",
    "create extension citext schema ext",
    "create table ci (name ext.citext primary key, x int)",
    "create table whole (id int primary key, x text, check ((whole.*)::text <> 'x'))",
    "create table comp (id int primary key, p ext.pairs not null)",
]


def test_names_and_types_that_break_careless_sql(past: Past, database: Database) -> None:
    with past(
        *NAMES[:-1],
        "create type ext.pairs as (a text, b text)",
        NAMES[-1],
        """insert into "t%d" values (1, 'a', 1), (2, 'b', 2)""",
        "insert into z default values",
        "insert into k values (1, 1, 1, 1, 1, 1, 'x', 'y')",
        "insert into l values ('a.b', 1), ('a.c', 2)",
        "insert into ci values ('Ab', 1), ('cd', 2)",
        "insert into whole values (1, 'y')",
        "insert into comp values (1, row('y', null))",
    ) as times:
        tables = ('"t%d"', "z", "k", "l", "ci", "whole", "comp")
        held: dict[str, list[Any]] = {t: database.rows(f"select {t}::text from {t} order by 1") for t in tables}
        database.run(*(f"delete from {name}" for name in tables))
        for lineage in (True, False):
            plan = times.diff(lineage=lineage)
            assert plan.writes == 11 - 1
            assert reasons(times) == set()
        times.apply()
        assert {t: database.rows(f"select {t}::text from {t} order by 1") for t in tables} == held
        times.undo()
        assert all(database.rows(f"select count(*) from {name}") == [(0,)] for name in tables)
