"""Dropped columns come back with their values, to the rows that are still the same; what cannot is said."""

from __future__ import annotations

import json
import re
import shlex
from datetime import datetime
from typing import Any

from runbooks.lab.background import pass_a_second
from tests.fix_cli import Cli, Ran, restoring, the_case
from tests.fix_lab import Database
from tests.schema_dump import definitions, in_any_order

UNTOUCHED = "nothing was written to the original"
FILL = (
    "create table t (id int primary key, a text, b text not null default 'none', c int check (c > 0))",
    "insert into t select g, 'a' || g, 'b' || g, g from generate_series(1, 40) g",
)
VALUES = "select id, a, b, c from t order by id"


def recreating(cli: Cli, database: Database, target: datetime, *more: str) -> Ran:
    return cli(*restoring(cli, database, target, "--mode", "recreate", *more))


def dropped(database: Database, *statements: str, fill: tuple[str, ...] = FILL) -> datetime:
    database.run(*fill)
    target = pass_a_second()
    database.run(*statements)
    return target


def test_rows_that_are_the_same_get_their_values_and_others_the_default(cli: Cli, database: Database) -> None:
    target = dropped(
        database,
        "alter table t drop column b, drop column c",
        "update t set a = 'changed since' where id = 2",
        "delete from t where id = 3",
        "insert into t values (77, 'new')",
    )
    ran = recreating(cli, database, target, "--table", "t")
    assert ran.code == 47, ran.err
    assert "    column public.t.b (text)\n    column public.t.c (integer)\n    check t_c_check of public.t\n" in ran.err
    assert (
        "  not as at T    public.t: 1 row of T are not there under their key any more (deleted, or given another key):"
        " their values of b, c are not back\n" in ran.err
    )
    assert "39 rows of public.t got their values of b, c back" in ran.out
    rows = [(n, f"a{n}", f"b{n}", n) for n in range(1, 41)]
    rows[1] = (2, "changed since", "b2", 2)
    del rows[2]
    assert database.rows(VALUES) == [*rows, (77, "new", "none", None)]
    assert database.rows(
        "select attname from pg_attribute where attrelid = 't'::regclass and attnotnull order by 1"
    ) == [(name,) for name in ("b", "cmax", "cmin", "ctid", "id", "tableoid", "xmax", "xmin")]


def test_what_newcomers_cannot_hold_is_left_and_said(cli: Cli, database: Database) -> None:
    fill = (
        "create table t (id int primary key, a text, b text not null, c int default -1, constraint plus check (c > 0))",
        "insert into t select g, 'a' || g, 'b' || g, g from generate_series(1, 10) g",
    )
    target = dropped(
        database, "alter table t drop column b, drop column c", "insert into t values (77, 'new')", fill=fill
    )
    ran = recreating(cli, database, target, "--table", "t")
    assert ran.code == 47, ran.err
    assert (
        '  not as at T    public.t: column b may hold null, which it could not at T: column "b" of relation "t"'
        " contains null values\n"
        "  not as at T    public.t: check plus is NOT VALID: rows that are there now violate it\n" in ran.err
    )
    rows: list[tuple[Any, ...]] = [(n, f"a{n}", f"b{n}", n) for n in range(1, 11)]
    assert database.rows(VALUES) == [*rows, (77, "new", None, -1)]
    assert database.rows("select convalidated from pg_constraint where conname = 'plus'") == [(False,)]


def test_without_a_key_rows_are_known_where_nobody_wrote_them(cli: Cli, database: Database) -> None:
    fill = ("create table t (id int, a text, b text, c int)", FILL[1])
    target = dropped(
        database,
        "alter table t drop column b",
        "update t set a = 'changed since' where id = 2",
        "delete from t where id = 3",
        "insert into t values (77, 'new', 0), (4, 'a4', 4)",
        fill=fill,
    )
    ran = recreating(cli, database, target, "--table", "t")
    assert ran.code == 47, ran.err
    assert (
        "  not as at T    public.t: 2 rows of T were changed or deleted since (no key tells which): their values of b"
        " are not back\n" in ran.err
    )
    rows: list[tuple[Any, ...]] = [(n, f"a{n}", f"b{n}", n) for n in range(1, 41) if n not in (2, 3)]
    rows += [(2, "changed since", None, 2), (4, "a4", None, 4), (77, "new", None, 0)]
    assert sorted(database.rows(VALUES), key=repr) == sorted(rows, key=repr)


def test_without_a_key_and_rewritten_it_is_shown_beside(cli: Cli, database: Database) -> None:
    target = dropped(
        database,
        "alter table t drop column b",
        "vacuum full t",
        fill=("create table t (id int, a text, b text, c int)", FILL[1]),
    )
    before = definitions(database)
    ran = recreating(cli, database, target, "--table", "t")
    assert ran.code == 25, ran.err
    assert (
        "  public.t: no key of both times tells its rows apart, and it was rewritten since T, so b cannot come back to"
        " them\n" in ran.err
    )
    assert f"  {UNTOUCHED}\n" in ran.err
    assert definitions(database) == before
    close, beside = re.findall(r"rowback (close \S+), then rowback (restore .*)$", ran.err, re.MULTILINE)[0]
    assert cli(*shlex.split(close)).code == 0
    shown = cli(*shlex.split(beside), "--confirm", database.name)
    assert shown.code == 0, shown.err
    schema = re.search(r"recovered_\w+", shown.out)
    assert schema
    assert database.rows(f"select count(b) from {schema[0]}.t") == [(40,)]


def test_another_column_of_the_name_is_not_overwritten(cli: Cli, database: Database) -> None:
    target = dropped(database, "alter table t drop column b", "alter table t add b int default 5")
    ran = recreating(cli, database, target, "--table", "t")
    assert ran.code == 25, ran.err
    assert "  COLUMN public.t.b\n" in ran.err
    assert "--mode beside --table public.t" in ran.err
    assert database.rows("select distinct b from t") == [(5,)]


def test_numbers_of_newcomers_are_none_that_were_given_out(cli: Cli, database: Database) -> None:
    fill = (
        "create table t (id serial primary key, a text, b text unique not null)",
        "insert into t (a, b) select 'a' || g, 'b' || g from generate_series(1, 40) g",
        "delete from t where id = 40",  # its number was given out all the same
    )
    target = dropped(
        database, "alter table t drop column id", "insert into t values ('new', 'n1'), ('new', 'n2')", fill=fill
    )
    ran = recreating(cli, database, target, "--table", "t")
    assert ran.code == 0, ran.err
    rows = database.rows("select id, b from t order by id")
    assert rows[:39] == [(n, f"b{n}") for n in range(1, 40)]
    assert sorted(b for _, b in rows[39:]) == ["n1", "n2"]
    numbers = [n for n, _ in rows[39:]]
    assert min(numbers) > 40
    database.run("insert into t (a, b) values ('later', 'n3')")
    assert database.rows("select id > all (select id from t where b <> 'n3') from t where b = 'n3'") == [(True,)]


def test_it_is_undone_while_nobody_wrote_rows_since(cli: Cli, database: Database) -> None:
    target = dropped(database, "create view v as select count(*) from t", "alter table t drop column b, drop column c")
    without, rows = definitions(database), database.rows("select id, a from t order by id")
    assert recreating(cli, database, target, "--table", "t").code == 0
    case = the_case(cli)["case"]
    assert cli("verify", case).code == 0
    database.run("update t set b = 'written' where id = 1")
    verified = cli("verify", case, "--json")
    assert verified.code == 0, verified.err
    (proof,) = json.loads(verified.out)["repaired"]
    assert (proof["updated"], proof["equal"], proof["changed_since"]) == (40, 39, 1)
    used = cli("undo", case, "--confirm", database.name)
    assert used.code == 42, used.err
    assert "public.t: rows were written since" in used.err
    database.run("update t set b = 'b1' where id = 1")
    undone = cli("undo", case, "--confirm", database.name)
    assert undone.code == 0, undone.err
    assert (definitions(database), database.rows("select id, a from t order by id")) == (without, rows)


def test_mode_missing_leads_there(cli: Cli, database: Database) -> None:
    target = dropped(database, "alter table t drop column b", "delete from t where id > 30")
    before = database.rows("select count(*) from t")
    part = cli(*restoring(cli, database, target, "--table", "t"))
    assert part.code == 47, part.err
    assert before == [(30,)]
    lead = re.search(
        r"bring the dropped columns back with their values: rowback (close \S+), then rowback (.*)$", part.err, re.M
    )
    assert lead, part.err
    for command in lead.groups():
        ran = cli(*shlex.split(command))
        assert ran.code == 0, ran.err
    assert database.rows(VALUES) == [(n, f"a{n}", f"b{n}", n) for n in range(1, 41)]


def test_what_others_dropped_for_good_stays_away_when_a_table_is_named(cli: Cli, database: Database) -> None:
    """A function that is asked for brings the columns and defaults that went with it, and no others."""
    fill = (
        "create function fresh() returns int language sql as 'select 42'",
        "create table t (id int primary key, a int default fresh(), b text)",
        "create table other (id int primary key, a text)",
        "create view v as select fresh() from other",
        "insert into t select g, g, 'b' || g from generate_series(1, 5) g",
    )
    target = dropped(database, "drop function fresh() cascade", "alter table t drop column b", fill=fill)
    ran = recreating(cli, database, target, "--table", "v")
    assert ran.code == 0, ran.err
    assert "alter" not in ran.err
    assert [line for line in in_any_order(definitions(database)) if "fresh()" in line and "integer" in line] == [
        "CREATE FUNCTION public.fresh() RETURNS integer",
        "    a integer DEFAULT public.fresh()",
    ]
    assert database.rows("select count(*) from pg_attribute where attrelid = 't'::regclass and attname = 'b'") == [(0,)]
