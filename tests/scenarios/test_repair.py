"""Row-level recovery through the command line: exactly the lost rows, on a database that went on living."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from recovery.model.target import format_utc
from tests.fix_cli import Cli, Ran
from tests.fix_lab import Database, pass_a_second

SHOP = """
create table customers (id int generated always as identity primary key, email text unique not null, name text);
create table orders (
  id bigserial primary key, customer_id int not null references customers on delete cascade, total numeric(10, 2),
  state text not null default 'new', placed_at timestamptz not null default now()
);
create table items (
  order_id bigint references orders on delete cascade, line int, what text not null, primary key (order_id, line)
);
insert into customers (email, name) select 'c' || g || '@example.com', 'customer ' || g from generate_series(1, 40) g;
insert into orders (customer_id, total) select 1 + g % 40, g from generate_series(0, 199) g;
insert into items select o.id, l, 'thing ' || l from orders o, generate_series(1, 3) l;
"""


def restore(cli: Cli, database: Database, target: datetime, *extra: str) -> Ran:
    return cli(
        "restore", cli.live.identifier, "--at", format_utc(target), "--database", database.name, "--confirm",
        database.name, *extra,
    )  # fmt: skip


def opened(cli: Cli, database: Database, target: datetime, *extra: str) -> str:
    ran = cli("open", cli.live.identifier, "--at", format_utc(target), "--database", database.name, *extra)
    assert ran.code == 0, ran.err
    return ran.out.strip()


def plan_of(cli: Cli, case: str, *extra: str) -> dict[str, Any]:
    ran = cli("diff", case, "--json", *extra)
    assert ran.code == 0, ran.err
    found: dict[str, Any] = json.loads(ran.out)
    return found


def table(plan: dict[str, Any], name: str) -> dict[str, Any]:
    return next(t for t in plan["tables"] if t["name"]["name"] == name)


def test_lost_rows_come_back_and_later_writes_stay(cli: Cli, database: Database) -> None:
    database.run(SHOP)
    before = database.rows("select * from items order by 1, 2")
    target = pass_a_second()
    database.run(
        "delete from customers where id <= 5",
        "insert into customers (email, name) values ('late@example.com', 'late')",
        "update orders set state = 'paid' where id = 150",
        "insert into items values (150, 9, 'late')",
    )
    ran = restore(cli, database, target)
    assert ran.code == 0, ran.err + ran.out
    assert database.rows("select count(*), sum(id) from customers") == [(41, sum(range(1, 42)))]
    assert database.rows("select state from orders where id = 150") == [("paid",)]
    assert database.rows("select * from items where what <> 'late' order by 1, 2") == before
    assert database.rows("select what from items where line = 9") == [("late",)]
    report = json.loads(cli("report", json.loads(cli("cases", "--json").out)[0]["case"], "--json").out)
    assert report["outcome"] == "recovered"
