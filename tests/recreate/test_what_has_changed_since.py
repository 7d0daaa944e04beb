"""Mode recreate beside what others made since: a success has to be one, and nothing of theirs is touched."""

from __future__ import annotations

from typing import Any

import pytest

from runbooks.lab.background import pass_a_second
from tests.fix_cli import Cli, Ran, restoring, the_case
from tests.fix_lab import Database
from tests.schema_dump import by_psql, checksum, definitions

DRIFT, IN_PART = 25, 47
T = "create table t (id int primary key, a text);\ninsert into t select g, 'a' || g from generate_series(1, 40) g;\n"


def lost(cli: Cli, database: Database, setup: str, incident: str, *options: str) -> tuple[str, Ran]:
    """The definitions at T and how the recovery ended."""
    by_psql(database, setup)
    before, target = definitions(database), pass_a_second()
    by_psql(database, incident)
    return before, cli(*restoring(cli, database, target, "--mode", "recreate", *options))


@pytest.mark.parametrize("options", [("--table", "t"), ("--table", "t", "--table", "b")])
def test_a_table_made_again_in_the_same_shape_is_another_table(
    cli: Cli, database: Database, options: tuple[str, ...]
) -> None:
    """As applications do at their start: its rows at T are not back."""
    setup = T + "create view v as select * from t; create table b (id int);"
    again = "drop table t, b cascade; create table t (id int primary key, a text); create table b (id int);"
    _, ran = lost(cli, database, setup, again, *options)
    assert ran.code == DRIFT, ran.err
    assert "other things have the names of what was dropped" in ran.err
    assert "\n  TABLE public.t\n" in ran.err
    assert all(f"--table public.{name}" in ran.err for name in options[1::2])
    assert database.rows("select count(*) from t") == [(0,)]


def test_a_table_of_another_shape_is_no_success_where_none_was_named(cli: Cli, database: Database) -> None:
    setup = T + "create table b (id int); insert into b values (1);"
    _, ran = lost(cli, database, setup, "drop table t, b; create table b (id int, other text);")
    assert ran.code == IN_PART, ran.err
    assert "not as at T    public.b: it was dropped, and another one has its name\n" in ran.err
    assert database.rows("select count(*) from t") == [(40,)]
    assert database.rows("select count(*) from b") == [(0,)]


@pytest.mark.parametrize(
    ("setup", "incident", "taken"),
    [
        (
            "create table o (b text); create index t_a on t (a);",
            "drop table t; create index t_a on o (b);",
            "INDEX public.t_a",
        ),
        (
            "create view v as select * from t; create view v2 as select * from v;",
            "drop table t cascade; create view v as select 0 as id;",
            "VIEW public.v",
        ),
        (
            "create type e as enum ('a', 'b'); create table tt (e e);",
            "drop table tt, t; drop type e; create type e as enum ('b', 'a');",
            "TYPE public.e",
        ),
        (
            "create table s (id serial primary key);",
            "drop table t, s; create table other (id int); create sequence s_id_seq owned by other.id;",
            "SEQUENCE public.s_id_seq",
        ),
    ],
)
def test_what_hangs_on_it_or_is_needed_and_is_another_now(
    cli: Cli, database: Database, setup: str, incident: str, taken: str
) -> None:
    _, ran = lost(cli, database, T + setup, incident)
    assert ran.code == DRIFT, ran.err
    assert f"\n  {taken}\n" in ran.err
    assert database.rows("select to_regclass('public.t')::text") == [(None,)]


def test_what_is_needed_and_was_altered_is_told(cli: Cli, database: Database) -> None:
    setup = (
        T + "create function f() returns trigger language plpgsql as $$begin return new; end$$;"
        "create trigger tr before insert on t for each row execute function f();"
    )
    other = (
        "drop table t; create or replace function f() returns trigger language plpgsql as $$begin return null; end$$;"
    )
    _, ran = lost(cli, database, setup, other)
    assert ran.code == 0, ran.err
    assert "FUNCTION public.f() is needed, and is not as it was at T" in ran.err
    assert database.rows("select count(*) from t") == [(40,)]


def test_force_on_policies_comes_back(cli: Cli, database: Database) -> None:
    """The copy's is lifted, so that its rows can be counted."""
    setup = (
        T + "create policy p on t using (id < 10); alter table t enable row level security;"
        "alter table t force row level security;"
    )
    before, ran = lost(cli, database, setup, "drop table t")
    assert ran.code == 0, ran.err
    assert definitions(database) == before
    assert database.rows("select relforcerowsecurity from pg_class where relname = 't'") == [(True,)]
    database.as_superuser("create table seen as select count(*) as n from t", "grant select on seen to public")
    assert database.rows("select n from seen") == [(40,)]


def test_default_privileges_of_today_are_not_given(cli: Cli, database: Database) -> None:
    role = f"ro_{database.name}"
    setup = T + f"create role {role};"
    incident = f"drop table t; alter default privileges in schema public grant all on tables to {role};"
    before, ran = lost(cli, database, setup, incident)
    assert ran.code == 40, ran.err
    assert "public.t would have other privileges than at T" in ran.err
    assert database.rows("select to_regclass('public.t')::text") == [(None,)]
    database.run(f"alter default privileges in schema public revoke all on tables from {role}")
    assert cli("resume", the_case(cli)["case"]).code == 0
    assert definitions(database) == before


@pytest.mark.parametrize(
    ("setup", "incident"),
    [
        (
            "create function i(int, int) returns bool language sql as 'select true';"
            "create function s(text, text) returns bool language sql as 'select true';"
            "create operator === (leftarg = int, rightarg = int, function = i);"
            "create operator === (leftarg = text, rightarg = text, function = s);",
            "drop operator === (text, text);",
        ),
        (
            'create table "a b" (id int); create table a (id int);'
            "create function f() returns trigger language plpgsql as $$begin return new; end$$;"
            'create trigger c before insert on "a b" for each row execute function f();'
            'create trigger "b c" before insert on a for each row execute function f();',
            'drop table "a b";',
        ),
    ],
)
def test_names_that_pg_dump_writes_alike(cli: Cli, database: Database, setup: str, incident: str) -> None:
    before, ran = lost(cli, database, setup, incident)
    assert ran.code == 0, ran.err
    assert definitions(database) == before


def test_a_quoted_name_is_no_pattern(cli: Cli, database: Database) -> None:
    setup = 'create table "a*b" (id int); insert into "a*b" values (1); create table axb (id int);'
    _, ran = lost(cli, database, setup, 'drop table "a*b", axb', "--table", 'public."a*b"')
    assert ran.code == 0, ran.err
    assert database.rows("""select to_regclass('"a*b"') is not null, to_regclass('axb') is null""") == [(True, True)]


def test_a_sequence_stands_past_what_its_column_holds(cli: Cli, database: Database) -> None:
    setup = "create table t (id int generated by default as identity, a text); insert into t (a) values ('x'), ('y');"
    gone = "alter table t alter id drop identity; insert into t values (500, 'z');"
    _, ran = lost(cli, database, setup, gone, "--table", "t")
    assert ran.code == 0, ran.err
    values: list[tuple[Any, ...]] = database.rows(
        "select last_value from pg_sequences where schemaname = 'public' and sequencename = 't_id_seq'"
    )
    assert values[0][0] >= 500


def test_a_grant_alone_is_not_undone_and_that_is_said_before(cli: Cli, database: Database) -> None:
    setup = T + "comment on table t is 'mine';"
    before, ran = lost(cli, database, setup, "comment on table t is null", "--table", "t")
    assert ran.code == 0, ran.err
    assert definitions(database) == before
    undone = cli("undo", the_case(cli)["case"], "--confirm", database.name)
    assert undone.code == 42, undone.err
    assert "no statement of pg_dump's takes these back: by hand\n  COMMENT public.TABLE t\n" in undone.err
    assert definitions(database) == before


@pytest.mark.parametrize(
    "since", ["create index mine on t (a)", "grant select on t to public", "comment on table t is 'x'"]
)
def test_what_others_hung_on_it_since_is_not_taken_along(cli: Cli, database: Database, since: str) -> None:
    before, ran = lost(cli, database, T, "drop table t")
    assert ran.code == 0, ran.err
    database.run(since)
    assert cli("verify", the_case(cli)["case"]).code == 0
    undone = cli("undo", the_case(cli)["case"], "--confirm", database.name)
    assert undone.code == 42, undone.err
    assert "it did not hang on it at T" in undone.err
    assert checksum(database, "t")[0][0] == 40


def test_a_role_of_a_grant_that_is_gone_is_named(cli: Cli, database: Database) -> None:
    role = f"gone_{database.name}"
    setup = T + f"create role {role}; grant select on t to {role};"
    before, ran = lost(cli, database, setup, f"drop table t; drop role {role};")
    assert ran.code == 27, ran.err
    assert f'help: make it again: create role "{role}"; then rowback resume' in ran.err
    database.run(f"create role {role}")
    resumed = cli("resume", the_case(cli)["case"])
    assert resumed.code == 21, resumed.err
    digest = resumed.err.split("rowback apply ")[1].split()[1]
    assert cli("apply", the_case(cli)["case"], digest, "--confirm", database.name).code == 0
    assert definitions(database) == before


def test_names_that_are_no_text_are_refused(cli: Cli, database: Database) -> None:
    with database.live.connect() as server:
        server.execute(f'drop database "{database.name}"')
        server.execute(
            f"create database \"{database.name}\" encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C' template template0"
        )
    with database.connect() as session:
        session.execute("set client_encoding = 'SQL_ASCII'")
        session.execute(b'create table "caf\xe9" (id int)')
        target = pass_a_second()
        session.execute(b'drop table "caf\xe9"')
    ran = cli(*restoring(cli, database, target, "--mode", "recreate"))
    assert ran.code == 26, ran.err
    assert "1 object of T have names or definitions that are no text in UTF-8" in ran.err
