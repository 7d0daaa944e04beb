"""After each kind of incident what is printed leads to the right rows, or says honestly that it cannot be done."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from runbooks.lab.background import pass_a_second
from tests.docs.walker import Walker
from tests.fix_cli import Cli
from tests.fix_lab import Database, Live, wait_until

pytestmark = pytest.mark.drill

Rows = list[tuple[Any, ...]]
PAST = (
    "create table customers (id int primary key, name text not null, city text)",
    "create table orders (id int primary key, customer int references customers on delete cascade, total int)",
    "create table stock (sku int primary key, pieces int not null, note text)",
    "insert into customers select g, 'c' || g, 'city ' || g % 5 from generate_series(1, 60) g",
    "insert into orders select g, 1 + g % 60, g from generate_series(1, 200) g",
    "insert into stock select g, g * 10, 'n' || g from generate_series(1, 80) g",
)
GOOD = ("update customers set city = 'moved' where id = 3", "insert into customers values (999, 'new', 'x')")


@dataclass
class Shop:
    """A database with its past; `held`: every table before the incident."""

    cli: Cli
    database: Database
    held: dict[str, Rows]

    def rows(self, table: str) -> Rows:
        return self.database.rows(f"select * from {table} order by 1")

    def is_back(self, *tables: str) -> Callable[[], bool]:
        """In place, as before."""
        return lambda: all(self.exists(table) and self.rows(table) == self.held[table] for table in tables)

    def has_pieces(self) -> bool:
        """Whether stock has its column again, with its values; it is the last one now."""
        if len(self.rows("stock")[0]) < len(self.held["stock"][0]):
            return False
        return self.database.rows("select sku, pieces from stock order by 1") == [row[:2] for row in self.held["stock"]]

    def exists(self, table: str) -> bool:
        return self.database.rows(f"select to_regclass('public.{table}') is not null") == [(True,)]

    def walk(self, until: Callable[[], bool], choice: str = "") -> Walker:
        """From `find`, knowing the instance and the database."""
        walker = Walker(self.cli, lambda offered: next((text for text in offered if choice in text), offered[0]))
        walker.walk("find", self.cli.live.identifier, "--database", self.database.name, "--since", "10m", until=until)
        return walker


@pytest.fixture
def shop(cli: Cli, live: Live, database: Database) -> Iterator[Shop]:
    """Every statement is logged, as RDS writes it, with log_line_prefix at RDS's default."""
    cluster = live.lab.engine.instances[live.identifier].cluster
    database.run(*PAST)
    cluster.settings |= {"log_statement": "all", "log_destination": "stderr"}
    cluster.reload()
    with live.connect() as session:
        wait_until(lambda: session.execute("show log_statement").fetchone() == ("all",), "it is logged")
    pass_a_second()
    yield Shop(
        cli,
        database,
        {name: database.rows(f"select * from {name} order by 1") for name in ("customers", "orders", "stock")},
    )
    cluster.settings |= {"log_statement": "none"}
    cluster.reload()


def incident(shop: Shop, *statements: str) -> None:
    """The incident in one session, and good work afterwards that has to stay."""
    shop.database.run(*statements)
    shop.database.run(*(statement for statement in GOOD if shop.exists("customers")))
    shop.held["customers"] = [(3, "c3", "moved") if row[0] == 3 else row for row in shop.held["customers"]] + [
        (999, "new", "x")
    ]


@pytest.mark.parametrize("statement", ["truncate orders", "delete from orders", "delete from orders where total > 50"])
def test_rows_that_are_gone(shop: Shop, statement: str) -> None:
    incident(shop, statement)
    walker = shop.walk(shop.is_back("orders"))
    assert shop.is_back("orders", "customers", "stock")(), walker.told()


def test_an_update_of_everything(shop: Shop) -> None:
    incident(shop, "update stock set pieces = 0")
    walker = shop.walk(shop.is_back("stock"))
    assert shop.is_back("orders", "customers", "stock")(), walker.told()


def test_a_dropped_table(shop: Shop) -> None:
    incident(shop, "drop table stock")
    walker = shop.walk(lambda: shop.exists("stock"))
    assert shop.exists("stock"), walker.told()
    assert shop.rows("stock") == shop.held["stock"]


def test_a_dropped_column(shop: Shop) -> None:
    incident(shop, "alter table stock drop column pieces")
    walker = shop.walk(shop.has_pieces)
    assert shop.has_pieces(), walker.told()
    assert shop.database.rows("select sku, note from stock order by 1") == [row[::2] for row in shop.held["stock"]]
    assert shop.is_back("orders", "customers")()


def test_a_dropped_database(shop: Shop, live: Live) -> None:
    """It cannot be done by rowback, and that is what is said, with what can be."""
    with live.connect() as server:
        server.execute(f'drop database "{shop.database.name}"')
        walker = Walker(shop.cli)
        walker.walk("find", live.identifier, "--since", "10m", until=lambda: walker.done[-1][0].startswith("runbook"))
        server.execute(f'create database "{shop.database.name}"')  # for the fixtures
    assert "rowback puts rows into databases that exist" in walker.told(), walker.told()
    assert "# The whole instance is lost" in walker.done[-1][1].out, walker.told()


def test_a_wrong_migration(shop: Shop) -> None:
    """In one transaction: a column is emptied, another dropped. That rows changed as well is said in time."""
    with shop.database.connect() as session, session.transaction():
        session.execute("update stock set note = null")
        session.execute("alter table stock drop column pieces")
    incident(shop, "select 1")
    walker = shop.walk(shop.has_pieces)
    assert shop.has_pieces(), walker.told()
    assert re.search(
        r"if rows were changed wrongly as well, look first: rowback diff \S+ --show changed", walker.told()
    )
    assert "what an incident changed is repaired first (--mode repair)" in walker.told()


def test_two_incidents_at_once(shop: Shop) -> None:
    shop.database.run("delete from orders")
    shop.database.run("update stock set pieces = 0")
    incident(shop, "select 1")
    one = shop.walk(shop.is_back("orders"), choice="public.orders")
    assert shop.is_back("orders")(), one.told()
    assert shop.rows("stock") == [(sku, 0, note) for sku, _, note in shop.held["stock"]], "the other one's turn is next"
    two = shop.walk(shop.is_back("stock"), choice="public.stock")
    assert shop.is_back("orders", "customers", "stock")(), two.told()
