"""Row-level recovery through the command line: exactly the lost rows, on a database that went on living."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg

from recovery.model.target import format_utc
from tests.fix_cli import Cli, Ran
from tests.fix_lab import Database, pass_a_second, wait_until

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


@dataclass
class Writers:
    """Users who never stop: they insert, and they raise a counter in any order they can find. Every acknowledged write
    is remembered."""

    database: Database
    inserted: list[int] = field(default_factory=list)
    counted: dict[int, int] = field(default_factory=dict)
    rounds: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Writers:
        for act in (self._insert, self._count):
            thread = threading.Thread(target=self._run, args=(act,), daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *exit: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self, act: Callable[[psycopg.Connection[Any], random.Random], None]) -> None:
        chance = random.Random(7)  # noqa: S311 (no secret)
        with self.database.connect() as app:
            while not self._stop.is_set():
                act(app, chance)
                self.rounds += 1

    def _insert(self, app: psycopg.Connection[Any], chance: random.Random) -> None:
        try:
            row = app.execute(
                "insert into orders (customer_id, total) values (%s, 1) returning id", (chance.randint(1, 40),)
            ).fetchone()
        except psycopg.errors.ForeignKeyViolation:
            return  # the customer is lost at the moment
        assert row
        self.inserted.append(row[0])

    def _count(self, app: psycopg.Connection[Any], chance: random.Random) -> None:
        number = chance.randint(1, 150)
        row = app.execute("update orders set n = n + 1 where id = %s returning n", (number,)).fetchone()
        if row:
            self.counted[number] = row[0]

    def forget_what_the_incident_deleted(self) -> None:
        left = {number for (number,) in self.database.rows("select id from orders")}
        for number in set(self.counted) - left:
            del self.counted[number]
        for number in [n for n in list(self.inserted) if n not in left and n < max(left)]:
            self.inserted.remove(number)

    def assert_nothing_lost(self) -> None:
        rows = dict(self.database.rows("select id, n from orders"))
        assert set(self.inserted) <= rows.keys()
        assert {number: rows.get(number) for number in self.counted} == self.counted


def test_no_write_of_others_is_lost_through_diff_apply_verify_and_undo(cli: Cli, database: Database) -> None:
    database.run(SHOP, "alter table orders add n int not null default 0")
    target = pass_a_second()
    with Writers(database) as writers:
        with database.connect() as careless, careless.transaction():
            row = careless.execute("select pg_current_xact_id()::text::bigint % 4294967296").fetchone()
            careless.execute("delete from customers where id <= 5")
            careless.execute("update orders set state = 'void', total = 0 where id % 7 = 0")
        writers.forget_what_the_incident_deleted()
        assert row
        case = opened(cli, database, target, "--mode", "repair", "--incident-xid", str(row[0]))
        began = writers.rounds
        plan = plan_of(cli, case)
        assert table(plan, "customers")["inserts"] == 5
        applied = cli("apply", case, plan["digest"][:8], "--confirm", database.name)
        assert applied.code == 0, applied.err
        assert cli("verify", case).code == 0
        assert database.rows("select count(*) from customers") == [(40,)]
        wait_until(lambda: writers.rounds > began + 200, "the writers go on")
        undone = cli("undo", case, "--confirm", database.name)
        assert undone.code == 0, undone.err
        wait_until(lambda: writers.rounds > began + 400, "the writers go on")
        again = cli("undo", case, "--confirm", database.name)
        assert again.code == 0, again.err
        assert cli("close", case).code == 0
    writers.assert_nothing_lost()
    # what was changed by nobody but the incident is as it was
    assert database.rows("select count(*) from customers where id <= 5") == [(5,)]
    assert database.rows("select count(*) from items where line <= 3") == [(600,)]
