"""For how long a swap keeps others away: many swaps of two tables that are written to and read all the time."""

from __future__ import annotations

import statistics
import threading
import time

import psycopg

from benchmarks.bench_lab import NOW, THEN, Bench, Line

SWAPS, ROWS, OTHERS = 200, 20_000, 1_000_000_000
TABLES = ("parents", "children")
SCHEMA = f"""
create table parents (id bigint primary key, v text not null);
create table children (id bigint primary key, parent bigint not null references parents, v text not null);
create index on children (parent);
create sequence others start {OTHERS};
insert into parents select g, md5(g::text) from generate_series(1, {ROWS}) g;
insert into children select g, 1 + g % {ROWS}, md5(g::text) from generate_series(1, {ROWS}) g;
vacuum analyze
"""


class Users:
    """A writer and a reader that never pause, how often it wrote, and the longest that a statement of theirs took."""

    def __init__(self, bench: Bench) -> None:
        self.writes = 0
        self.longest_s: list[float] = []
        self.errors: list[psycopg.Error] = []
        self._dsn, self._stop = bench.dsn(NOW), threading.Event()
        write = (
            "with p as (insert into parents values (nextval('others'), 'other') returning id)"
            " insert into children select nextval('others'), id, 'other' from p"
        )
        read = "select count(*) from children c join parents p on p.id = c.parent where c.id < 100"
        self._threads = [threading.Thread(target=self._run, args=(query,)) for query in (write, read)]

    def __enter__(self) -> Users:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, query: str) -> None:
        try:
            with psycopg.connect(self._dsn, autocommit=True) as session:
                while not self._stop.is_set():
                    began = time.perf_counter()
                    session.execute(query)
                    self.writes += query.startswith("with")
                    self.longest_s.append(time.perf_counter() - began)
                    self._stop.wait(0.001)
        except psycopg.Error as error:
            self.errors.append(error)


def measure(bench: Bench) -> list[Line]:
    swaps = max(5, int(SWAPS * bench.share))
    bench.build(*SCHEMA.split(";"))
    held = bench.sums(THEN, TABLES)
    locked: list[float] = []
    waited: list[float] = []
    for _ in range(swaps):
        boundary = bench.anew("truncate parents, children")
        with Users(bench) as users:
            locked.append(bench.ours("swap-under-load", boundary).locked_s)
        assert not users.errors, users.errors
        waited.append(max(users.longest_s))
        assert bench.sums(NOW, TABLES, f"id < {OTHERS}") == held
        assert bench.counts(NOW, TABLES, f"id >= {OTHERS}") == [users.writes] * len(TABLES)
    return [
        Line(f"{swaps} swaps of two tables under load: p99 locked", f"{_p99(locked) * 1e3:.0f} ms", goal="≤ 200 ms"),
        Line("of these: p99 of the longest statement of others", f"{_p99(waited) * 1e3:.0f} ms"),
    ]


def _p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[98]
