"""T and now as two databases of one lab server, and both sides' acts on them.

CREATE DATABASE … TEMPLATE is a physical copy with the same transaction ids, as a restore is.
"""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from benchmarks.ours import Measured
from runbooks.drills.datasets import rows
from runbooks.lab.background import MASTER
from runbooks.lab.lab_server import Lab

INSTANCE, NOW, THEN = "bench", "big", "big_t"


@dataclass(frozen=True)
class Line:
    """One row of a scene's table. `goal`: the ratio or bound that is aimed at; empty where there is none."""

    what: str
    ours: str
    theirs: str = ""
    ratio: str = ""
    goal: str = ""

    def __str__(self) -> str:
        return f"| {self.what} | {self.ours} | {self.theirs} | {self.ratio} | {self.goal} |"


@dataclass
class Bench:
    """A lab with the data set at T, from which every measurement starts anew.

    `share`: of the full size; `repeat`: medians of so many.
    """

    lab: Lab
    password: str
    share: float
    repeat: int

    @property
    def scratch(self) -> Path:
        """Where rowback's files go."""
        directory = self.lab.root / "bench"
        directory.mkdir(exist_ok=True)
        return directory

    @property
    def tools(self) -> Path:
        """PostgreSQL's client programs."""
        return self.lab.engine.tools.bin

    def sized(self, full: int) -> int:
        """That many rows at this share of the full size."""
        return max(1000, int(full * self.share))

    def dsn(self, database: str) -> str:
        port = self.lab.engine.instances[INSTANCE].cluster.port
        return f"host=127.0.0.1 port={port} user={MASTER} password={self.password} dbname={database}"

    def run(self, database: str, *statements: str) -> None:
        with psycopg.connect(self.dsn(database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def build(self, *statements: str) -> None:
        """T, made of `statements`."""
        self.run(
            "postgres",
            f"drop database if exists {NOW} with (force)",
            f"drop database if exists {THEN} with (force)",
            f"create database {THEN}",
        )
        self.run(THEN, *statements)

    def build_rows(self, count: int, *more: str) -> None:
        """T with the table t of `count` rows, and `more` statements on it."""
        self.build()
        with psycopg.connect(self.dsn(THEN), autocommit=True) as connection:
            rows(count).load(connection)
        self.run(THEN, *more, "vacuum analyze t")

    def anew(self, *statements: str) -> int:
        """`now` as at T, then `statements`; returns the first transaction id after T."""
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as server:
            server.execute(f"drop database if exists {NOW} with (force)")
            row = server.execute("select pg_current_xact_id()::text::bigint").fetchone()
            server.execute(f"create database {NOW} template {THEN}")
        self.run(NOW, *statements, "checkpoint")
        assert row
        return int(row[0])

    def incident(self, *statements: str) -> int:
        """The transaction id of `statements`, executed now in one transaction."""
        with psycopg.connect(self.dsn(NOW)) as session:
            for statement in statements:
                session.execute(statement)
            row = session.execute("select pg_current_xact_id()::text::bigint % 4294967296").fetchone()
        assert row
        return int(row[0])

    def ours(self, what: str, boundary: int, *xids: int) -> Measured:
        """rowback in a process of its own, so that its memory is its own."""
        numbers = map(str, (boundary, *xids))
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.ours", what, self.dsn(NOW), self.dsn(THEN), str(self.scratch), *numbers],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        return Measured(**json.loads(done.stdout))

    def changes(self) -> int:
        """How many rows the last comparison found to differ."""
        with sqlite3.connect(self.scratch / "changes.sqlite") as file:
            (count,) = file.execute("select count(*) from change").fetchone()
        return int(count)

    def wal(self, act: Callable[[], object]) -> float:
        """MiB of WAL that `act` writes."""
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as server:
            (before,) = server.execute("select pg_current_wal_insert_lsn()").fetchone() or ("0/0",)
            act()
            row = server.execute("select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %s)", (before,)).fetchone()
        assert row
        return float(row[0]) / 2**20

    def sums(self, database: str, tables: Iterable[str], where: str = "true") -> list[object]:
        """Rows of each table and their checksum, and how many valid indexes and validated foreign keys there are."""
        with psycopg.connect(self.dsn(database), autocommit=True) as session:
            listed = list(tables)
            indexes = "select count(*) from pg_index where indisvalid and indrelid = any(%s::regclass[])"
            keys = (
                "select count(*) from pg_constraint where contype = 'f' and convalidated"
                " and conrelid = any(%s::regclass[])"
            )
            of_rows = "select count(*), sum(hash_record_extended(t, 0)) from {} t where {}"
            return [
                *(session.execute(of_rows.format(name, where)).fetchone() for name in listed),
                session.execute(indexes, (listed,)).fetchone(),
                session.execute(keys, (listed,)).fetchone(),
            ]

    def counts(self, database: str, tables: Iterable[str], where: str) -> list[int]:
        """Rows of each table."""
        with psycopg.connect(self.dsn(database), autocommit=True) as session:
            queries = [f"select count(*) from {name} where {where}" for name in tables]
            return [int(rows) for query in queries for (rows,) in session.execute(query)]

    def copy_over(self, query: str, into: str) -> None:
        """What `query` selects at T into the table `into` now, in binary."""
        with (
            psycopg.connect(self.dsn(THEN)) as then,
            psycopg.connect(self.dsn(NOW)) as now,
            then.cursor().copy(f"copy ({query}) to stdout (format binary)") as out,
            now.cursor().copy(f"copy {into} from stdin (format binary)") as writer,
        ):
            for block in out:
                writer.write(block)


@contextmanager
def bench_lab(share: float, repeat: int) -> Iterator[Bench]:
    with Lab.start() as lab:
        yield Bench(lab, lab.create_instance(INSTANCE, master=MASTER, PubliclyAccessible=False), share, repeat)


def alternating(bench: Bench, *sides: Callable[[], float]) -> list[float]:
    """The medians of all sides, each in its turn, the order reversed every other time."""
    took: list[list[float]] = [[] for _ in sides]
    for number in range(bench.repeat):
        order = list(enumerate(sides))
        for place, side in order if number % 2 == 0 else reversed(order):
            took[place].append(side())
    return [statistics.median(each) for each in took]


def seconds(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def shell(command: str) -> None:
    """A pipe as people type it."""
    subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], check=True, capture_output=True)  # noqa: S607


def machine() -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return f"{os.cpu_count()} cores ({model}), shared with others, Linux"
