"""Other people: sessions that write all along, keep a ledger of what was committed, and one that only looks.

They run in a process of their own, so that the process that starts rowback has one thread and may fork.
"""

from __future__ import annotations

import multiprocessing as mp
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from typing import Any

import psycopg
from psycopg import errors as pg
from psycopg import sql

from tests.soak.server import WRITER, Place
from tests.soak.world import Connection, Row, Table, World, insert, plain, quiet_digest

THREADS = 2
LOOK_EVERY_S, ANSWER_S = 0.008, 60.0
NEW_FROM = 1000
REFUSED = (psycopg.IntegrityError, pg.LockNotAvailable, pg.DeadlockDetected, pg.SerializationFailure)
CUT = (psycopg.OperationalError, psycopg.InterfaceError)


@dataclass(frozen=True)
class Event:
    """One committed write of somebody: `row` as it is afterwards, None: deleted. Rows of one number have one writer, so
    the ledger's order is theirs."""

    table: int
    n: int
    op: str
    row: Row | None


@dataclass
class Heard:
    """What the writers did since the last time they were asked."""

    events: list[Event] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    longest_wait_s: float = 0.0


class Writers:
    """The writers' process, seen from the schedule. Paused at first."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    def start(self) -> None:
        """Let them write."""
        self._pipe.send(("start", 0))

    def pause(self) -> Heard:
        """Wait until nobody is in a statement; what was committed meanwhile."""
        return self._asked("pause", 0)

    def burst(self, count: int) -> Heard:
        """Let each of them do `count` writes, then pause."""
        return self._asked("burst", count)

    def _asked(self, verb: str, count: int) -> Heard:
        self._pipe.send((verb, count))
        if not self._pipe.poll(ANSWER_S):
            raise TimeoutError(f"the writers did not answer to {verb} within {ANSWER_S:.0f} s")
        heard: Heard = self._pipe.recv()
        return heard


@contextmanager
def writing(place: Place, world: World, seed: int, pause_s: float) -> Iterator[Writers]:
    """Start the process, whose writers pause so long between two writes; it ends with the block."""
    context = mp.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, _Crowd(place, world, seed, pause_s)), daemon=True)
    process.start()
    theirs.close()
    try:
        yield Writers(ours)
    finally:
        with suppress(OSError):
            ours.send(("end", 0))
        process.join(10)
        if process.is_alive():
            process.kill()
            process.join()
        ours.close()


class _Crowd:
    """The threads of the writers' process."""

    def __init__(self, place: Place, world: World, seed: int, pause_s: float) -> None:
        self.place, self.world, self.seed, self.pause_s = place, world, seed, pause_s
        self.running, self.ended = threading.Event(), threading.Event()
        self.heard, self.lock = Heard(), threading.Lock()
        self.busy = [threading.Lock() for _ in range(THREADS + 1)]
        self.people = [_Person(self, no) for no in range(THREADS)]
        self.threads = [threading.Thread(target=self._loop, args=(no,), daemon=True) for no in range(THREADS + 1)]

    def _loop(self, no: int) -> None:
        act: Callable[[], None] = self.people[no].act if no < THREADS else _Observer(self).look
        every = self.pause_s if no < THREADS else LOOK_EVERY_S
        while not self.ended.is_set():
            if not self.running.wait(0.2):
                continue
            with self.busy[no]:
                if self.running.is_set():
                    act()
            self.ended.wait(every)

    def pause(self) -> None:
        self.running.clear()
        for lock in self.busy:
            with lock:
                pass
        for person in self.people:
            person.settle()

    def take(self) -> Heard:
        with self.lock:
            heard, self.heard = self.heard, Heard()
        return heard


def _serve(pipe: Pipe, crowd: _Crowd) -> None:
    for thread in crowd.threads:
        thread.start()
    while True:
        verb, count = pipe.recv()
        match verb:
            case "start":
                crowd.running.set()
            case "pause":
                crowd.pause()
                pipe.send(crowd.take())
            case "burst":
                for _ in range(count):
                    for person in crowd.people:
                        person.act()
                pipe.send(crowd.take())
            case _:
                crowd.running.clear()
                crowd.ended.set()
                return


class _Session:
    """A connection that comes again after the server was away."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._session: Connection | None = None

    def get(self) -> Connection:
        if self._session is None or self._session.closed or self._session.broken:
            self._session = self._place.connect(WRITER)
            self._session.execute("set lock_timeout = '400ms'")
        return self._session


class _Observer:
    """Looks at all quiet rows in one snapshot, again and again."""

    def __init__(self, crowd: _Crowd) -> None:
        self.crowd, self.session = crowd, _Session(crowd.place)
        self.query = quiet_digest(crowd.world)

    def look(self) -> None:
        with suppress(*CUT, pg.LockNotAvailable):
            row = self.session.get().execute(self.query).fetchone()
            with self.crowd.lock:
                digests = self.crowd.heard.digests
                if row and (not digests or digests[-1] != row[0]):
                    digests.append(str(row[0]))


class _Person:
    """One writer. Of the even rows every second one is theirs: n % 4 is 0 or 2."""

    def __init__(self, crowd: _Crowd, no: int) -> None:
        self.crowd, self.no = crowd, no
        self.rng = random.Random(f"{crowd.seed} writer {no}")
        self.session = _Session(crowd.place)
        self.made = 0
        self.pending: Event | None = None

    def act(self) -> None:
        """One transaction, in the ledger once it is committed."""
        table = self.rng.choice(self.crowd.world.tables)
        what = self.rng.choice(["update", "update", "update", "insert", "insert", "again", "delete", "nothing"])
        began, event = time.monotonic(), None
        try:
            self.settle()
            event = self._write(self.session.get(), table, what)
            self.pending = None
        except REFUSED as error:
            self.pending = None
            self._count(type(error).__name__)
        except CUT as error:
            self._count(type(error).__name__)
        with self.crowd.lock:
            waited = time.monotonic() - began
            self.crowd.heard.longest_wait_s = max(self.crowd.heard.longest_wait_s, waited)
            if event:
                self.crowd.heard.events.append(event)

    def settle(self) -> None:
        """Ask whether a write is there whose connection was lost in the commit: nobody else writes that row so."""
        if not (event := self.pending):
            return
        table = self.crowd.world.tables[event.table]
        found = (
            self.session.get()
            .execute(sql.SQL("select * from {} where n = {}").format(table.identifier, sql.Literal(event.n)))
            .fetchall()
        )
        theirs = [row for row in map(plain, found) if event.row is not None and row[-1] == event.row[-1]]
        self.pending = None
        if bool(theirs) if event.row is not None else not found:
            with self.crowd.lock:
                self.crowd.heard.events.append(event)

    def _count(self, what: str) -> None:
        with self.crowd.lock:
            self.crowd.heard.refused[what] += 1

    def _write(self, app: Connection, table: Table, what: str) -> Event | None:
        """Everything in a transaction of its own; `pending` is the event while its commit is under way."""
        who = f"writer {self.no} {self.rng.randrange(10**9)}"
        event = None
        with app.transaction(force_rollback=what == "nothing"):
            match what if table.key else "insert":
                case "insert":
                    self.made += 1
                    n = NEW_FROM + 2 * self.no + 4 * self.made
                    event = Event(table.no, n, "insert", self._insert(app, table, n, who, "new"))
                case "again":
                    n = self._some(table)
                    event = Event(table.no, n, "insert", self._insert(app, table, n, who, "another"))
                case "delete" if not self.crowd.world.children(table.no):
                    event = self._delete(app, table)
                case _:
                    event = self._update(app, table, who)
            self.pending = event if what != "nothing" else None
        return None if what == "nothing" else event

    def _some(self, table: Table) -> int:
        """One of this writer's row numbers among those that were there at T."""
        mine = range(2 * self.no, max(table.rows, 1), 4)
        return self.rng.choice(mine) if mine else 2 * self.no

    def _any(self, table: Table) -> int:
        return (
            NEW_FROM + 2 * self.no + 4 * self.rng.randint(1, self.made)
            if self.made and self.rng.random() < 0.4
            else self._some(table)
        )

    def _insert(self, app: Connection, table: Table, n: int, who: str, name: str) -> Row:
        link = None
        if table.parent is not None and self.rng.random() < 0.7:
            parent = self.crowd.world.tables[table.parent]
            some = sql.SQL("select n from {} order by random() limit 1").format(parent.identifier)
            row = app.execute(some).fetchone()
            link = row[0] if row else None
        return insert(app, self.crowd.world, table, (n, link, who), name=name)

    def _update(self, app: Connection, table: Table, who: str) -> Event | None:
        n = self._any(table)
        row: tuple[Any, ...] | None = app.execute(
            sql.SQL("update {} set val = val + 1, w = {} where n = {} returning *").format(
                table.identifier, sql.Literal(who), sql.Literal(n)
            )
        ).fetchone()
        return Event(table.no, n, "update", plain(row)) if row and table.key else None

    def _delete(self, app: Connection, table: Table) -> Event | None:
        n = self._any(table)
        row = app.execute(
            sql.SQL("delete from {} where n = {} returning n").format(table.identifier, sql.Literal(n))
        ).fetchone()
        return Event(table.no, n, "delete", None) if row else None
