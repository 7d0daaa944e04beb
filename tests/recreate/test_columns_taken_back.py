"""Columns that came back are taken back: exactly these, and nothing that others hung on them."""

from __future__ import annotations

import pytest

from runbooks.lab.background import pass_a_second
from tests.fix_cli import Cli, restoring, the_case
from tests.fix_lab import Database
from tests.schema_dump import by_psql, definitions, in_any_order

pytestmark = pytest.mark.kinds

PLAIN = (
    "create table t (id int primary key, a text, b text);"
    "insert into t select g, 'a' || g, 'b' || g from generate_series(1, 20) g;"
)


def test_what_others_hung_on_a_column_is_not_dropped_with_it(cli: Cli, database: Database) -> None:
    by_psql(database, PLAIN)
    target = pass_a_second()
    database.run("alter table t drop column b")
    without = definitions(database)
    assert cli(*restoring(cli, database, target, "--mode", "recreate", "--table", "t")).code == 0
    case = the_case(cli)["case"]
    database.run(
        "create index mine on t (id) include (b)",
        "alter table t add constraint others check (b <> 'zz')",
        "comment on column t.b is 'x'",
        "grant select (b) on t to pg_monitor",
    )
    before, undone = definitions(database), cli("undo", case, "--confirm", database.name)
    assert undone.code == 42, undone.err
    for what in (
        "index public.mine",
        "constraint others on table public.t",
        "comment on column b",
        "privileges on column b: ",
    ):
        assert f"  public.t: {what}" in undone.err
    assert definitions(database) == before
    database.run(
        "drop index mine", "alter table t drop constraint others", "comment on column t.b is null",
        "revoke select (b) on t from pg_monitor",
    )  # fmt: skip
    again = cli("undo", case, "--confirm", database.name)
    assert again.code == 0, again.err
    assert definitions(database) == without


def test_a_table_of_another_role_is_altered_and_undone(cli: Cli, database: Database) -> None:
    role = f"app_{database.name}"
    by_psql(database, PLAIN)
    database.run(f"create role {role}", f"grant {role} to postgres", f"grant create on schema public to {role}")
    database.run(f"alter table t owner to {role}", f"grant select on t to {role}", f"revoke {role} from postgres")
    before, target = in_any_order(definitions(database)), pass_a_second()
    database.as_superuser("alter table t drop column b")
    without = definitions(database)
    ran = cli(*restoring(cli, database, target, "--mode", "recreate", "--table", "t"))
    assert ran.code == 0, ran.err
    assert in_any_order(definitions(database)) == before
    undone = cli("undo", the_case(cli)["case"], "--confirm", database.name)
    assert undone.code == 0, undone.err
    assert definitions(database) == without


def test_what_was_left_is_not_in_the_way_of_an_undo(cli: Cli, database: Database) -> None:
    database.run(
        "create table t (id int primary key, a int, b int generated always as (a * 2) stored, c text)",
        "insert into t (id, a, c) select g, g, 'c' || g from generate_series(1, 20) g",
    )
    target = pass_a_second()
    database.run("alter table t drop column b, drop column c", "alter table t alter a type text")
    without = definitions(database)
    ran = cli(*restoring(cli, database, target, "--mode", "recreate", "--table", "t"))
    assert ran.code == 47, ran.err
    assert "public.t: column b could not be made again: " in ran.err
    assert database.rows("select count(*) from t where c = 'c' || id") == [(20,)]
    undone = cli("undo", the_case(cli)["case"], "--confirm", database.name)
    assert undone.code == 0, undone.err
    assert definitions(database) == without
