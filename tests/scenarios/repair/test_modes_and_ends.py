"""Other modes, references, and cases that are over."""

from __future__ import annotations

import json
from pathlib import Path

from recovery.model.target import format_utc
from runbooks.lab.background import pass_a_second
from tests.fix_cli import Cli
from tests.fix_lab import Database, Live, database_on
from tests.scenarios.repair.shop import SHOP, opened, plan_of, restore


def test_replace_needs_the_number_of_rows_that_lose(cli: Cli, database: Database) -> None:
    database.run("create table t (id int primary key, x text)", "insert into t values (1, 'a'), (2, 'b')")
    target = pass_a_second()
    database.run("update t set x = 'good' where id = 1", "insert into t values (3, 'new')")
    ran = restore(cli, database, target, "--mode", "replace")
    assert ran.code == 21
    assert (
        "error[confirmation-missing]: 2 rows would lose what was written to them after T, and nobody confirmed"
        in ran.err
    )
    case = json.loads(cli("cases", "--json").out)[0]["case"]
    digest = plan_of(cli, case)["digest"][:8]
    write = f"apply {case} {digest} --confirm {database.name} --confirm-loss 2"
    look = f"diff {case} --show new --show changed"
    assert f"  help: look at them: rowback {look}; then: rowback {write}\n" in ran.err
    listed = [line for line in cli(*look.split()).out.splitlines() if line.startswith("public.t ")]
    assert listed == ["public.t id=1: changed, update", "public.t id=3: new, delete"]
    assert cli("apply", case, digest, "--confirm", database.name, "--confirm-loss", "1").code == 21
    assert cli("apply", case, "0" * 64, "--confirm", database.name).code == 22
    assert cli("apply", case, digest, "--confirm", "other", "--confirm-loss", "2").code == 21
    assert database.rows("select * from t order by 1") == [(1, "good"), (2, "b"), (3, "new")]
    assert cli("apply", case, digest, "--confirm", database.name, "--confirm-loss", "2").code == 0
    assert database.rows("select * from t order by 1") == [(1, "a"), (2, "b")]
    assert cli("undo", case, "--confirm", database.name).code == 0
    assert database.rows("select * from t order by 1") == [(1, "good"), (2, "b"), (3, "new")]
    assert cli("close", case).code == 0


def test_nothing_to_repair_and_nothing_to_undo_are_no_success(cli: Cli, database: Database) -> None:
    database.run("create table t (id int primary key, x text)", "insert into t values (1, 'a')")
    target = pass_a_second()
    database.run("update t set x = 'b'")
    ran = restore(cli, database, target)
    assert ran.code == 41
    assert "mode 'missing' has no row to write" in ran.err
    assert "  public.t: 1 changed\n" in ran.err
    case = json.loads(cli("cases", "--json").out)[0]["case"]
    refused = cli("undo", case, "--confirm", database.name)
    assert (refused.code, refused.err.splitlines()[0]) == (
        42,
        f"error[nothing-to-undo]: case {case} has written nothing",
    )
    assert cli("verify", case).code == 42
    assert cli("close", case).code == 0


def test_a_truncated_table_that_was_loaded_whole_is_undone_as_well(cli: Cli, database: Database) -> None:
    database.run(
        "create table t (id serial primary key, x text)",
        "insert into t (x) select 'x' || g from generate_series(1, 50) g",
    )
    target = pass_a_second()
    database.run("truncate t")
    assert restore(cli, database, target).code == 0
    case = json.loads(cli("cases", "--json").out)[0]["case"]
    database.run("update t set x = 'edited' where id = 7")
    assert cli("verify", case).code == 0
    undone = cli("undo", case, "--confirm", database.name)
    assert undone.code == 0, undone.err
    assert database.rows("select * from t") == [(7, "edited")]
    assert cli("undo", case, "--confirm", database.name).code == 0
    assert database.rows("select count(*), count(*) filter (where x = 'x' || id) from t") == [(50, 49)]


def test_beside_loads_t_into_a_schema_of_its_own_and_touches_nothing(cli: Cli, database: Database) -> None:
    database.run(
        SHOP,
        'create schema "Odd; --"',
        'create table "Odd; --"."t" ("t" int primary key, g int generated always as ("t" * 2) stored, x text)',
        """insert into "Odd; --"."t" ("t", x) values (1, 'eins'), (2, null)""",
    )
    held = {
        t: database.rows(f"select * from {t} order by 1, 2") for t in ("customers", "orders", "items", '"Odd; --"."t"')
    }
    target = pass_a_second()
    database.run("delete from customers where id < 20", """update "Odd; --"."t" set x = 'anders'""")
    now = {t: database.rows(f"select * from {t} order by 1, 2") for t in held}
    ran = restore(cli, database, target, "--mode", "beside")
    assert ran.code == 0, ran.err
    case = json.loads(cli("cases", "--json").out)[0]["case"]
    schema = "recovered_" + case.replace("-", "_")
    for name, rows in held.items():
        beside = name if "." not in name else '"Odd; --.t"'
        assert database.rows(f"select * from {schema}.{beside} order by 1, 2") == rows
    assert {t: database.rows(f"select * from {t} order by 1, 2") for t in held} == now
    assert cli("undo", case, "--confirm", database.name).code == 0
    assert database.rows(f"select count(*) from {schema}.customers") == [(0,)]
    refused = restore(cli, database, target, "--mode", "beside", "--table", "public.items", "--where", "line = 1")
    assert refused.code == 2
    assert "--where does not go with --mode beside" in refused.err


def test_references_to_another_database_are_checked_for_the_touched_keys(
    cli: Cli, live: Live, database: Database
) -> None:
    for users in database_on(live):
        users.run("create table customers (id int primary key)", "insert into customers values (1), (2), (3)")
        database.run(
            "create table orders (id int primary key, customer_id int)",
            "insert into orders select g, g from generate_series(1, 4) g",
        )
        Path("rowback.toml").write_text(
            f'[profiles.p]\ninstance = "{live.identifier}"\ndatabase = "{database.name}"\n[[reference]]\n'
            f'from = "{database.name}.public.orders.customer_id"\nto = "{users.name}.public.customers.id"\n'
        )
        target = pass_a_second()
        config = Path("rowback.toml").read_text()
        Path("rowback.toml").write_text(config.replace("customers.id", "customers.number"))
        refused = cli("restore", "--at", format_utc(target), "--profile", "p", "--confirm", database.name)
        assert refused.code == 2
        assert refused.err.splitlines() == [
            f"error[config-invalid]: reference {users.name}.public.customers.number in rowback.toml cannot be checked:"
            " public.customers has no column number",
            "  nothing was created, nothing was written",
            "  help: correct the [[reference]] in rowback.toml",
        ]
        Path("rowback.toml").write_text(config)
        database.run("delete from orders")
        users.run("delete from customers where id = 3")
        ran = cli("restore", "--at", format_utc(target), "--profile", "p", "--confirm", database.name)
        assert ran.code == 0, ran.err
        assert (
            f"  reference  {database.name}.public.orders.customer_id → {users.name}.public.customers.id:"
            " 1 of 4 touched keys DANGLE: 3 (1 dangled at T already)\n" in ran.out
        )


def test_a_closed_case_is_told_as_such(cli: Cli, database: Database) -> None:
    database.run("create table t (id int primary key)", "insert into t values (1)")
    case = opened(cli, database, pass_a_second())
    assert cli("close", case).code == 0
    for arguments in (("peek", case, "select 1"), ("diff", case), ("diff", case, "--mode", "repair")):
        refused = cli(*arguments)
        assert refused.code == 29
        assert refused.err.splitlines()[0] == f"error[case-busy]: case {case} is closed: closed without change"
