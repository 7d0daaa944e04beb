"""A shop that writes while it is repaired."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from recovery.model.target import format_utc
from tests.fix_cli import Cli, Ran, restoring
from tests.fix_lab import Database

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
    return cli(*restoring(cli, database, target, *extra))


def opened(cli: Cli, database: Database, target: datetime, *extra: str) -> str:
    ran = cli("open", cli.live.identifier, "--at", format_utc(target), "--database", database.name, *extra)
    assert ran.code == 0, ran.err
    return ran.out.strip()


def plan_of(cli: Cli, case: str, *extra: str) -> dict[str, Any]:
    ran = cli("diff", case, "--json", *extra)
    assert ran.code == 0, ran.err
    found: dict[str, Any] = json.loads(ran.out)
    return found
