"""Mode recreate as a person meets it: what is refused, what is told, undone, gone on with, and who may not do it."""

from __future__ import annotations

import re
import shlex
from datetime import datetime
from typing import Any

import pytest

from runbooks.lab.background import pass_a_second
from tests.fix_cli import Cli, Ran, restoring, the_case
from tests.fix_lab import Database
from tests.schema_dump import definitions

UNTOUCHED = "nothing was written to the original"
ROWS = "select count(*), sum(hashtextextended(t::text, 0)) from t"
FILL = (
    "create table t (id int primary key, a text)",
    "insert into t select g, 'a' || g from generate_series(1, 40) g",
    "create table child (id int primary key, t int references t)",
    "insert into child select g, g from generate_series(1, 20) g",
    "create view v as select count(*) from t",
)


@pytest.fixture
def lost(database: Database) -> tuple[datetime, str, list[tuple[Any, ...]]]:
    """A table that was dropped with CASCADE: T, the definitions and the rows as they were."""
    database.run(*FILL)
    before, rows, target = definitions(database), database.rows(ROWS), pass_a_second()
    database.run("drop table t cascade")
    return target, before, rows


def recreating(cli: Cli, database: Database, target: datetime, *more: str) -> Ran:
    return cli(*restoring(cli, database, target, "--mode", "recreate", *more))


def test_what_was_made_is_listed_proven_and_undone(cli: Cli, database: Database, lost: Any) -> None:
    target, before, rows = lost
    without = definitions(database)
    ran = recreating(cli, database, target, "--table", "t")
    assert ran.code == 0, ran.err
    assert "  made anew:\n    table public.t\n    view public.v\n" in ran.err
    assert "put the rows back … " in ran.err
    assert (definitions(database), database.rows(ROWS)) == (before, rows)
    case = the_case(cli)["case"]
    assert cli("verify", case).code == 0
    undone = cli("undo", case, "--confirm", database.name)
    assert undone.code == 0, undone.err
    assert definitions(database) == without
    assert cli("verify", case).code == 0
    again = cli("undo", case, "--confirm", database.name)
    assert again.code == 42, again.err
    assert f"case {case} cannot be taken back: it has made nothing that is there" in again.err


@pytest.mark.parametrize(
    ("since", "words"),
    [
        ("insert into t values (99, 'new')", "public.t: rows were written since"),
        ("delete from t where id = 40", "public.t: rows were written since"),
        ("create view mine as select * from t", "view public.mine depends on table public.t"),
        ("alter table t add b int", "TABLE public.t: its definition differs"),
    ],
)
def test_what_others_use_since_is_not_dropped(cli: Cli, database: Database, lost: Any, since: str, words: str) -> None:
    assert recreating(cli, database, lost[0]).code == 0
    database.run(since)
    before = definitions(database), database.rows(ROWS)
    undone = cli("undo", the_case(cli)["case"], "--confirm", database.name)
    assert undone.code == 42, undone.err
    assert words in undone.err
    assert (definitions(database), database.rows(ROWS)) == before


def test_nothing_is_missing(cli: Cli, database: Database) -> None:
    database.run(*FILL)
    target = pass_a_second()
    ran = recreating(cli, database, target)
    assert ran.code == 41, ran.err
    assert f" is missing in '{database.name}'\n" in ran.err
    assert UNTOUCHED in ran.err


def test_a_name_that_never_was(cli: Cli, database: Database, lost: Any) -> None:
    ran = recreating(cli, database, lost[0], "--table", "tt")
    assert ran.code == 15, ran.err
    assert " there was no table public.tt\n" in ran.err


def test_a_table_that_was_made_anew_since_is_not_overwritten(cli: Cli, database: Database, lost: Any) -> None:
    database.run("create table t (something text)", "insert into t values ('else')")
    ran = recreating(cli, database, lost[0], "--table", "t")
    assert ran.code == 25, ran.err
    assert "  TABLE public.t\n" in ran.err
    assert "--mode beside --table public.t" in ran.err
    assert database.rows("select * from t") == [("else",)]


def test_rows_of_others_that_no_longer_fit_keep_it_all_away(cli: Cli, database: Database, lost: Any) -> None:
    database.run("insert into child values (77, 4711)")
    without = definitions(database)
    ran = recreating(cli, database, lost[0])
    assert ran.code == 54, ran.err
    assert 'insert or update on table "child" violates foreign key constraint "child_t_fkey"' in ran.err
    assert "Key (t)=(4711) is not present" in ran.err
    assert definitions(database) == without
    case = the_case(cli)["case"]
    database.run("delete from child where id = 77")
    assert cli("resume", case).code == 0
    assert (definitions(database), database.rows(ROWS)) == lost[1:]


def test_a_default_that_went_with_its_sequence_comes_back(cli: Cli, database: Database) -> None:
    database.run("create sequence s", "create table t (id int default nextval('s'), a text)")
    database.run("insert into t (a) values ('x')")
    before, target = definitions(database), pass_a_second()
    database.run("drop sequence s cascade")
    ran = recreating(cli, database, target)
    assert ran.code == 0, ran.err
    assert "    default of public.t.id\n" in ran.err
    assert definitions(database) == before
    database.run("insert into t (a) values ('later')")
    assert database.rows("select id > 1 from t where a = 'later'") == [(True,)]


def test_a_column_of_another_type_is_left_as_it_is_and_named(cli: Cli, database: Database) -> None:
    database.run(*FILL, "create index i on t (a)")
    target = pass_a_second()
    database.run("drop index i", "alter table t alter column a type varchar(40)")
    ran = recreating(cli, database, target, "--table", "t")
    assert ran.code == 47, ran.err
    assert (
        "  not as at T    public.t: it is there, and its columns, defaults or checks are not as they were at T: they"
        " are left as they are\n" in ran.err
    )
    assert database.rows("select to_regclass('i') is not null, max(a) from t") == [(True, "a9")]


def test_the_owner_is_who_it_was_or_the_way_to_it_is_said(cli: Cli, database: Database) -> None:
    """The master user is no superuser: it makes itself a member of the owner for as long as it takes."""
    role = f"app_{database.name}"
    database.run(f"create role {role}", f"grant {role} to postgres", *FILL, f"grant create on schema public to {role}")
    database.run(f"alter table t owner to {role}", f"grant select on t to {role}", f"revoke {role} from postgres")
    before, target = definitions(database), pass_a_second()
    member = f"select pg_has_role('postgres', '{role}', 'USAGE')"
    assert database.rows(member) == [(False,)]
    database.as_superuser("drop table t cascade")
    ran = recreating(cli, database, target)
    assert ran.code == 0, ran.err
    assert definitions(database) == before
    assert database.rows(member) == [(False,)]


def test_a_role_that_is_gone_is_named_with_the_way_on(cli: Cli, database: Database) -> None:
    role = f"gone_{database.name}"
    database.run(f"create role {role}", f"grant {role} to postgres", *FILL, f"grant create on schema public to {role}")
    database.run(f"alter table t owner to {role}")
    before, target = definitions(database), pass_a_second()
    database.run("drop table t cascade", f"revoke create on schema public from {role}", f"drop role {role}")
    ran = recreating(cli, database, target)
    assert ran.code == 27, ran.err
    assert f"roles that own what was dropped do not exist any more: {role}\n" in ran.err
    assert f'create role "{role}"' in ran.err
    database.run(f'create role "{role}"', f"grant {role} to postgres", f"grant create on schema public to {role}")
    resumed = cli("resume", the_case(cli)["case"])
    assert resumed.code == 21, resumed.err  # what is made is known now, and was agreed to by nobody
    applied = shlex.split(re.findall(r"then: rowback (apply .*)", resumed.err)[0])
    assert cli(*applied).code == 0
    assert cli("resume", the_case(cli)["case"]).code == 0
    assert definitions(database) == before


def test_an_event_trigger_that_writes_is_told_and_keeps_nothing_away(cli: Cli, database: Database, lost: Any) -> None:
    database.as_superuser(
        "create table written (tag text)",
        "grant insert on written to public",
        "create function wd() returns event_trigger language plpgsql as"
        " 'begin insert into public.written values (tg_tag); end'",
        "create event trigger et on ddl_command_end execute function wd()",
    )
    try:
        ran = recreating(cli, database, lost[0])
        assert ran.code == 0, ran.err
        assert "event trigger et sees what is made" in ran.err
        assert database.rows(ROWS) == lost[2]
    finally:
        database.as_superuser("drop event trigger et")


def test_a_plan_says_what_it_is(cli: Cli, database: Database, lost: Any) -> None:
    target = restoring(cli, database, lost[0])[3]
    ran = cli("plan", cli.live.identifier, "--at", target, "--database", database.name, "--mode", "recreate")
    assert ran.code == 0, ran.err
    assert (
        f": make anew everything that is missing in '{database.name}' on '{cli.live.identifier}' as of {target}"
        in ran.out
    )


@pytest.mark.parametrize(
    "option", [("--except", "child"), ("--where", "id > 3"), ("--load", "plain"), ("--incident-xid", "7")]
)
def test_options_that_would_not_be_heeded_are_refused(
    cli: Cli, database: Database, lost: Any, option: tuple[str, str]
) -> None:
    ran = recreating(cli, database, lost[0], *option)
    assert ran.code == 2, ran.err
    assert option[0] in ran.err
    assert "does not go with --mode recreate, which makes anew what is missing" in ran.err


def test_what_was_renamed_or_moved_since_is_not_made_a_second_time(cli: Cli, database: Database) -> None:
    database.run(*FILL, "create schema archive", "comment on table t is 'old'", "create type k as enum ('a')")
    target = pass_a_second()
    database.run("alter table t rename to t2", "alter table child set schema archive", "alter type k rename to k2")
    database.run("drop view v")
    ran = recreating(cli, database, target, "--table", "t")
    assert ran.code == 25, ran.err
    assert "it has another name now\n  TABLE public.t is TABLE public.t2 now\n" in ran.err
    assert "  VIEW public.v needs TABLE public.t2, which had another name\n" in ran.err
    assert cli("close", the_case(cli)["case"]).code == 0
    kinds = (
        "select relname from pg_class where relkind = 'r' and relnamespace::regnamespace::text in ('public', 'archive')"
    )
    before = sorted(database.rows(kinds))
    refused = recreating(cli, database, target)
    assert refused.code == 25, refused.err
    assert "  VIEW public.v needs TABLE public.t2, which had another name\n" in refused.err
    assert sorted(database.rows(kinds)) == before


def test_schema_public_is_dropped_as_people_do(cli: Cli, database: Database) -> None:
    """It belongs to pg_database_owner, a role that has no members but the owner of the database."""
    database.run(*FILL, "create table public.other (n int)", "grant usage on schema public to pg_monitor")
    before, rows, target = definitions(database), database.rows(ROWS), pass_a_second()
    database.run("drop schema public cascade")
    ran = recreating(cli, database, target)
    assert ran.code == 0, ran.err
    assert (definitions(database), database.rows(ROWS)) == (before, rows)


def test_schema_public_of_a_database_that_belongs_to_another_role(cli: Cli, database: Database) -> None:
    database.run(*FILL)
    rows, target = database.rows(ROWS), pass_a_second()
    database.as_superuser("drop schema public cascade", f"alter database {database.name} owner to rdsadmin")
    ran = recreating(cli, database, target)
    assert ran.code == 27, ran.err
    assert "'postgres' may not make things that belong to role 'pg_database_owner'" in ran.err
    case = the_case(cli)["case"]
    way = f'as the owner of the database: alter database "{database.name}" owner to "postgres"'
    assert f"  help: {way}; then: rowback resume {case} (continue)" in ran.err
    database.as_superuser(f'alter database "{database.name}" owner to "postgres"')
    digest = cli("resume", case).err.split("rowback apply ")[1].split()[1]
    assert cli("apply", case, digest, "--confirm", database.name).code == 0
    assert database.rows(ROWS) == rows


def test_what_superusers_alone_may_make_is_left_and_named(cli: Cli, database: Database) -> None:
    """The rest comes back all the same, in part."""
    database.run(*FILL)
    database.as_superuser(
        "create function public.c_square(float8) returns float8 language internal as 'dsqrt' immutable strict",
        "create view public.of_it as select public.c_square(4)",
        "alter view public.of_it owner to postgres",
    )
    rows, target = database.rows(ROWS), pass_a_second()
    database.as_superuser("drop table public.t cascade", "drop function public.c_square(float8) cascade")
    ran = recreating(cli, database, target)
    assert ran.code == 47, ran.err
    assert (
        "  not as at T    FUNCTION public.c_square(double precision): it is not made: it belongs to rdsadmin, a"
        " superuser\n" in ran.err
    )
    assert (
        "  not as at T    VIEW public.of_it: it is not made: it needs FUNCTION public.c_square(double precision)\n"
        in ran.err
    )
    assert database.rows(ROWS) == rows
    assert database.rows("select count(*) from v") == [(1,)]
    assert "--table ''" not in ran.err


def test_a_privilege_that_can_be_granted_leaves_nothing_away(cli: Cli, database: Database) -> None:
    """The way to it is said instead."""
    database.run(*FILL, "create schema app")
    database.run("create function app.f() returns int language sql as 'select 1'", "create table app.x (n int)")
    target = pass_a_second()
    database.as_superuser("drop table app.x", "drop function app.f()", "alter schema app owner to rdsadmin")
    ran = recreating(cli, database, target, "--table", "app.x")
    assert ran.code == 27, ran.err
    assert "permission denied for schema app" in ran.err
    assert database.rows("select to_regclass('app.x') is null") == [(True,)]
