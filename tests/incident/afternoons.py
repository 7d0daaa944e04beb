"""An afternoon at a shop: good work, and incidents whose times are noted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg
from psycopg import ClientCursor

FURNISH = """
create table customers (id int primary key, name text not null, city text);
create table orders (id int primary key, customer int not null references customers on delete cascade, total int);
create table stock (sku int primary key, pieces int not null, note text);
create table staging (id int, v text);
create table "Weird Name; --" ("t" int primary key, v text);
insert into customers select g, 'c' || g, 'city ' || g % 7 from generate_series(1, 400) g;
insert into orders select g, 1 + g % 400, g from generate_series(1, 1200) g;
insert into stock select g, g, 'n' || g from generate_series(1, 500) g;
insert into "Weird Name; --" select g, 'v' || g from generate_series(1, 50) g;
create function wipe_all() returns void language plpgsql as $$ begin delete from stock; end $$;
"""


@dataclass
class Incident:
    """What should be found: how its worst statement begins, in small letters; when nothing of it had begun yet, and
    when it was over."""

    begins: str
    began: datetime
    over: datetime


@dataclass
class Afternoon:
    """Sessions of one database, by name; `incidents` in the order of their beginnings."""

    dsn: str
    sessions: dict[str, psycopg.Connection[Any]] = field(default_factory=dict)
    incidents: list[Incident] = field(default_factory=list)
    _next: int = 0

    def session(self, name: str) -> psycopg.Connection[Any]:
        if name not in self.sessions:
            self.sessions[name] = psycopg.connect(
                self.dsn, autocommit=True, application_name=name, options="-c lock_timeout=100"
            )
        return self.sessions[name]

    def does(self, text: str, by: str = "web") -> None:
        """One statement by the simple protocol; an error of the server's is part of the story."""
        with contextlib.suppress(psycopg.Error):
            ClientCursor(self.session(by)).execute(text.encode())

    def driver(self, text: str, *values: object, by: str = "web") -> None:
        """One statement by the extended protocol, as drivers send them."""
        with contextlib.suppress(psycopg.Error):
            self.session(by).execute(text.encode(), values, prepare=True)

    def alone(self, text: str) -> None:
        """One statement in a session of its own, as psql -c does it."""
        name = f"psql {self._next}"
        self._next += 1
        self.does(text, by=name)
        self.leaves(name)

    def leaves(self, name: str) -> None:
        self.sessions.pop(name).close()

    def work(self, rounds: int = 12, *workers: str) -> None:
        """Good writers take turns: rows by their keys, some in transactions, some taken back."""
        for each in range(rounds):
            n, worker = (
                1 + (self._next + each) % 390,
                (workers or ("web", "jobs", "api"))[each % max(1, len(workers or "abc"))],
            )
            match each % 4:
                case 0:
                    self.does(f"update stock set pieces = pieces - 1 where sku = {n}", worker)
                case 1:
                    self.driver("update customers set city = %s where id = %s", f"moved {n}", n, by=worker)
                case 2:
                    for text in (
                        "begin",
                        f"insert into orders values ({10_000 + self._next + each}, {n}, 5)",
                        f"update stock set note = 'sold' where sku = {n}",
                        "commit",
                    ):
                        self.does(text, worker)
                case _:
                    for text in ("begin", f"delete from orders where id = {10_000 + n}", "rollback"):
                        self.does(text, worker)
        self._next += rounds

    @contextlib.contextmanager
    def oops(self, begins: str) -> Iterator[None]:
        """What is played inside is an incident."""
        began = self._now()
        yield
        self.incidents.append(Incident(begins, began, self._now()))

    def _now(self) -> datetime:
        with psycopg.connect(self.dsn, options="-c log_statement=none") as clock:
            row = clock.execute("select clock_timestamp()").fetchone()
        assert row
        assert isinstance(row[0], datetime)
        return row[0]


Story = Callable[[Afternoon], None]
STORIES: dict[str, Story] = {}


def story(tell: Story) -> Story:
    STORIES[tell.__name__] = tell
    return tell


def in_one(begins: str, *statements: str) -> Story:
    """Good work, one transaction that should not have been, good work."""

    def tell(a: Afternoon) -> None:
        a.work()
        with a.oops(begins):
            for text in ("begin", *statements, "commit"):
                a.does(text, "admin")
        a.work()

    return tell


def by_itself(begins: str, text: str) -> Story:
    """Good work, one statement by psql -c, good work."""

    def tell(a: Afternoon) -> None:
        a.work()
        with a.oops(begins):
            a.alone(text)
        a.work()

    return tell
