"""What the guards cost and what a database per test costs, both sides in one run: python -m benchmarks.guard_bench

Statements: all that happens in psycopg, with and without the guard, before a statement is sent, in processes of their
own that take turns. Databases: two processes at
once, as xdist has them, on one throw-away cluster, 30 tables with indexes and foreign keys in the template.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg._queries import PostgresQuery
from psycopg._transformer import Transformer
from psycopg.conninfo import conninfo_to_dict
from pytest_postgresql.janitor import DatabaseJanitor

from guards.isolation import Databases, Migrations, open_databases
from guards.isolation.throwaway_cluster import throw_away
from tests.guards.forwarder import forwarded

SCHEMA = "".join(
    f"create table t{n} (id serial primary key, x text, y int{f' references t{n - 1}' if n else ''});"
    f" create index on t{n} (x); create index on t{n} (y);"
    for n in range(30)
)
SIDES = ("bare", "unproven", "proven", "marked", "tunnel", "bare tunnel")
HANDED_OUT: list[float] = []  # of a clone, before anybody connects
Obtain = Callable[[int], Any]


def per_call_us(act: Callable[[int], object], count: int) -> float:
    began = time.perf_counter()
    for n in range(count):
        act(n)
    return (time.perf_counter() - began) / count * 1e6


def side(name: str, dsn: str, count: int) -> None:
    """One side, in a process of its own; prints what was measured."""
    if not name.startswith("bare"):
        import guards

        guards.enable("dev")
    with psycopg.connect(dsn, autocommit=True) as connection:
        query = PostgresQuery(Transformer.from_context(connection))
        text = "select x, y from t0 where id = %s and x <> 'a' order by y limit 10"
        query.convert(text, (1,))
        found = {
            "repeated": per_call_us(lambda n: query.convert(text, (n,)), count),
            "unique": per_call_us(lambda n: query.convert(f"select x, y from t0 where id = {n} limit 10", None), count),
        }
    found["connect"] = statistics.median(
        per_call_us(lambda n: psycopg.connect(dsn).close(), 1) for _ in range(max(20, count // 200))
    )
    if not name.startswith("bare"):
        found["first"] = statistics.median(first_meetings(dsn, max(20, count // 200)))
    sys.stdout.write(json.dumps(found))


def first_meetings(dsn: str, count: int) -> Iterator[float]:
    """As if each were the first of its process."""
    import guards

    for _ in range(count):
        guards.disable()
        guards.enable("dev")
        yield per_call_us(lambda n: psycopg.connect(dsn).close(), 1)


def statements(dsns: dict[str, str], count: int, rounds: int) -> list[tuple[str, str, str, str]]:
    found: dict[str, list[dict[str, float]]] = {name: [] for name in SIDES}
    for _ in range(rounds):
        for name in SIDES:
            done = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "benchmarks.guard_bench",
                    "--side",
                    name,
                    "--dsn",
                    dsns[name],
                    "--count",
                    str(count),
                ],
                check=True,
                capture_output=True,
                text=True,
            )
            found[name].append(json.loads(done.stdout))

    def middle(name: str, what: str) -> float:
        return statistics.median(each[what] for each in found[name])

    lines = []
    for name in ("unproven", "proven"):
        for what, words in (("repeated", "a repeated statement"), ("unique", "statements that are all different")):
            ours, bare = middle(name, what), middle("bare", what)
            lines.append((f"{words}, {name} server", f"{ours:.2f} µs", f"{bare:.2f} µs", cost(ours, bare, "µs")))
    for name, what, words in (
        ("unproven", "first", "connect and close, with the verdict"),
        ("proven", "first", "the same, proven server"),
        ("proven", "connect", "the same, known to the process"),
        ("marked", "connect", "marked database, after the first"),
        ("tunnel", "connect", "unproven through a tunnel, after the first"),
        ("tunnel", "first", "unproven through a tunnel, the first"),
    ):
        without = "bare tunnel" if name == "tunnel" else "bare"
        ours, bare = middle(name, what) / 1e3, middle(without, "connect") / 1e3
        lines.append((words, f"{ours:.2f} ms", f"{bare:.2f} ms", cost(ours, bare, "ms")))
    return lines


def cost(ours: float, bare: float, unit: str) -> str:
    return f"{ours / bare:.2f}× ({ours - bare:+.2f} {unit})"


@contextmanager
def rolled_back(databases: Databases, number: int) -> Iterator[Any]:
    with databases.rolled_back() as connection:
        yield connection


@contextmanager
def restored(databases: Databases, number: int) -> Iterator[Any]:
    with databases.restored() as database, psycopg.connect(database.dsn) as connection:
        yield connection


@contextmanager
def clone(databases: Databases, number: int) -> Iterator[Any]:
    asked = time.perf_counter()
    with databases.clone() as database:
        HANDED_OUT.append(time.perf_counter() - asked)
        with psycopg.connect(database.dsn) as connection:
            yield connection


def plainly(strategy: str) -> Callable[[Databases, int], Any]:
    @contextmanager
    def obtain(databases: Databases, number: int) -> Iterator[Any]:
        name = sql.Identifier(f"plain_{os.getpid()}_{number}")
        template = sql.Identifier(databases.template)
        with psycopg.connect(**databases.server.parameters, autocommit=True) as admin:
            admin.execute(sql.SQL("create database {} template {} " + strategy).format(name, template))
            try:
                with psycopg.connect(databases.server.dsn(f"plain_{os.getpid()}_{number}")) as connection:
                    yield connection
            finally:
                admin.execute(sql.SQL("drop database {} with (force)").format(name))

    return obtain


@contextmanager
def pytest_postgresql(databases: Databases, number: int) -> Iterator[Any]:
    """What its `postgresql` fixture does around each test, with its template."""
    way = databases.server.parameters
    janitor = DatabaseJanitor(
        user=way["user"],
        host=way["host"],
        port=way["port"],
        dbname=f"theirs_{os.getpid()}_{number}",
        template_dbname=databases.template,
    )
    with janitor, psycopg.connect(databases.server.dsn(janitor.dbname)) as connection:
        yield connection


TIERS: dict[str, Callable[[Databases, int], Any]] = {
    "rolled back": rolled_back,
    "restored": restored,
    "clone": clone,
    "pytest-postgresql": pytest_postgresql,
    "CREATE DATABASE … TEMPLATE": plainly(""),
    "the same, STRATEGY file_copy": plainly("strategy file_copy"),
}


def worker(tier: str, dsn: str, schema: str, tests: int, gate: Any, out: Any) -> None:
    """One process of two: a test asks for its database, writes and reads a little, and is done with it."""
    with open_databases(Migrations.from_files(schema), dsn=dsn) as databases:
        obtain, firsts, lasts = TIERS[tier], [], []
        gate.wait()
        began = time.perf_counter()
        for number in range(tests):
            asked = time.perf_counter()
            with obtain(databases, number) as connection:
                connection.execute("select 1")
                firsts.append(time.perf_counter() - asked)
                for _ in range(5):
                    connection.execute("insert into t0 (x) values ('a')")
                    connection.execute("select count(*) from t0")
                time.sleep(0.01)  # the test's own work, in which it asks nothing of the server
                released = time.perf_counter()
            lasts.append(time.perf_counter() - released)
        whole = (time.perf_counter() - began) / tests
        out.put((statistics.median(firsts), statistics.median(lasts), whole, statistics.median(HANDED_OUT or [0.0])))


def databases(dsn: str, schema: Path, tests: int) -> list[tuple[str, str, str, str]]:
    context, found = get_context("spawn"), {}
    for tier in TIERS:
        gate, out = context.Barrier(2), context.Queue()
        both = [context.Process(target=worker, args=(tier, dsn, str(schema), tests, gate, out)) for _ in range(2)]
        for process in both:
            process.start()
        results = [out.get(timeout=600) for _ in both]
        for process in both:
            process.join()
        found[tier] = [statistics.mean(column) * 1e3 for column in zip(*results, strict=True)]
    theirs = {name: found[name] for name in list(TIERS)[3:]}
    handed, plain = found["clone"][3], found["CREATE DATABASE … TEMPLATE"][0]
    alone = (
        "clone: handed out, before anybody connects",
        f"{handed:.2f} ms",
        f"{plain:.1f} ms",
        f"{plain / handed:.0f}×",
    )
    return [alone] + [
        (
            f"{ours}: first answer, release and whole test, against {other}",
            "{:.1f} / {:.1f} / {:.1f} ms".format(*found[ours][:3]),
            "{:.1f} / {:.1f} / {:.1f} ms".format(*figures[:3]),
            f"{figures[0] / found[ours][0]:.1f}× / {figures[2] / found[ours][2]:.1f}×",
        )
        for ours in list(TIERS)[:3]
        for other, figures in theirs.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=20_000, help="statements a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tests", type=int, default=100, help="tests a process")
    parser.add_argument("--side", choices=SIDES)
    parser.add_argument("--dsn", default="")
    asked = parser.parse_args()
    if asked.side:
        side(asked.side, asked.dsn, asked.count)
        return
    with throw_away() as (dsn, home), tempfile.TemporaryDirectory() as directory:
        schema = Path(directory) / "schema.sql"
        schema.write_text(SCHEMA)
        port = int(str(conninfo_to_dict(dsn)["port"]))
        with forwarded(("127.0.0.1", port)) as tunnel:
            lines = statements(prepared(dsn, home, tunnel), asked.count, asked.rounds)
        if asked.tests:
            lines += databases(dsn, schema, asked.tests)
    sys.stdout.write("| what | guarded, or rowback | without, or the other | ratio |\n|---|---|---|---|\n")
    sys.stdout.writelines(f"| {' | '.join(line)} |\n" for line in lines)


def prepared(dsn: str, home: Path, tunnel: int) -> dict[str, str]:
    """Three databases through a unix socket: one that is proven, one marked, one that its owner protected; and the
    first through a tunnel."""
    over_tcp: dict[str, Any] = {**conninfo_to_dict(dsn)}
    parts, names = {**over_tcp, "host": str(home / "s")}, ("open", "closed", "marked")
    with psycopg.connect(**parts, autocommit=True) as admin:
        for name in names:
            admin.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    ways = {name: psycopg.conninfo.make_conninfo(**{**parts, "dbname": name}) for name in names}
    for way in ways.values():
        with psycopg.connect(way) as connection:
            connection.execute("create table t0 (id serial primary key, x text)")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "recovery.cli",
            "guard",
            "mark",
            "--dsn",
            ways["closed"],
            "--protected",
            "--reason",
            "bench",
            "--confirm",
            "closed",
        ],
        check=True,
        capture_output=True,
    )
    subprocess.run(
        [
            sys.executable,
            "-m",
            "recovery.cli",
            "guard",
            "mark",
            "--dsn",
            ways["marked"],
            "--once",
            "--reason",
            "bench",
            "--confirm",
            "marked",
        ],
        check=True,
        capture_output=True,
    )
    far = psycopg.conninfo.make_conninfo(**{**over_tcp, "host": "127.0.0.1", "port": tunnel, "dbname": "open"})
    return {
        "bare": ways["open"],
        "unproven": ways["closed"],
        "proven": ways["open"],
        "marked": ways["marked"],
        "tunnel": far,
        "bare tunnel": far,
    }


if __name__ == "__main__":
    main()
