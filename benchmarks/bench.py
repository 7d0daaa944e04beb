"""Both sides of every claim in one run: python -m benchmarks.bench [--rows 200000] [--repeat 3] [--page]

T and now are two databases of one lab server (CREATE DATABASE … TEMPLATE: the same transaction ids, as a restore has).
Medians of `repeat` runs; ratios are what counts, seconds are this machine's.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg

from benchmarks.ours import Measured
from runbooks.drills.datasets import rows
from runbooks.lab.background import MASTER
from runbooks.lab.lab_server import Lab

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
INSTANCE, NOW, THEN = "bench", "big", "big_t"
CHANGED, GONE = 500, 1000


@dataclass(frozen=True)
class Line:
    """One row of the table."""

    what: str
    ours: str
    theirs: str
    ratio: str


@dataclass
class Bench:
    """A lab with the data set at T, from which every measurement starts anew."""

    lab: Lab
    password: str
    count: int
    repeat: int

    def dsn(self, database: str) -> str:
        port = self.lab.engine.instances[INSTANCE].cluster.port
        return f"host=127.0.0.1 port={port} user={MASTER} password={self.password} dbname={database}"

    def run(self, database: str, *statements: str) -> None:
        with psycopg.connect(self.dsn(database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def anew(self, *statements: str) -> int:
        """`now` as at T, then `statements`; returns the first transaction id after T."""
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as server:
            server.execute(f"drop database if exists {NOW} with (force)")
            row = server.execute("select pg_current_xact_id()::text::bigint").fetchone()
            server.execute(f"create database {NOW} template {THEN}")
        self.run(NOW, *statements, "checkpoint")
        assert row
        return int(row[0])

    def ours(self, what: str, boundary: int, scratch: Path) -> Measured:
        """rowback in a process of its own, so that its memory is its own."""
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.ours", what, self.dsn(NOW), self.dsn(THEN), str(boundary), str(scratch)],
            check=True,
            capture_output=True,
            text=True,
        )
        return Measured(**json.loads(done.stdout))

    def wal(self, act: Callable[[], object]) -> float:
        """MiB of WAL that `act` writes."""
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as server:
            (before,) = server.execute("select pg_current_wal_insert_lsn()").fetchone() or ("0/0",)
            act()
            row = server.execute("select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %s)", (before,)).fetchone()
        assert row
        return float(row[0]) / 2**20


def median(repeat: int, once: Callable[[], float]) -> float:
    return statistics.median(once() for _ in range(repeat))


def seconds(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def scattered(count: int) -> tuple[str, str]:
    """1,000 rows gone and 500 changed, all over the table."""
    return (
        f"delete from t where id in (select (g * {count}::bigint) / {GONE + 1} from generate_series(1, {GONE}) g)",
        f"update t set title = title || '!' where id in"
        f" (select 1 + (g * {count}::bigint) / {CHANGED + 1} from generate_series(1, {CHANGED}) g)",
    )


def diffs(bench: Bench, scratch: Path) -> list[Line]:
    boundary = bench.anew(*scattered(bench.count))
    found = {
        what: median(bench.repeat, lambda what=what: bench.ours(what, boundary, scratch).seconds)  # type: ignore[misc]
        for what in ("lineage", "buckets")
    }
    url = "postgresql://{}:{}@127.0.0.1:{}/{}"
    port = bench.lab.engine.instances[INSTANCE].cluster.port
    command = [
        str(Path(sys.executable).parent / "reladiff"),
        *(x for name in (THEN, NOW) for x in (url.format(MASTER, bench.password, port, name), "t")),
        "-k",
        "id",
        "-c",
        "%",
        "-j",
        "2",
        "--stats",
    ]
    theirs = seconds(lambda: subprocess.run(command, check=False, capture_output=True))
    return [
        Line(
            f"find 1,500 scattered differences by {what}, against reladiff",
            f"{took:.2f} s",
            f"{theirs:.1f} s",
            f"{theirs / took:.1f}×",
        )
        for what, took in found.items()
    ]


def wal(bench: Bench, scratch: Path) -> list[Line]:
    boundary = bench.anew(*scattered(bench.count))
    bench.ours("lineage", boundary, scratch)
    ours = bench.wal(lambda: bench.ours("apply", boundary, scratch))
    columns = ["n", "title", "created", "updated", "amount", "body", "meta"]
    setting = ", ".join(f"{column} = excluded.{column}" for column in columns)
    old, new = (", ".join(f"{row}.{column}" for column in columns) for row in ("t", "excluded"))
    lines = []
    for name, guard in (("guarded upsert", f"where ({old}) is distinct from ({new})"), ("plain upsert", "")):
        bench.anew(*scattered(bench.count), "create unlogged table stage (like t)")
        copy_over(bench)
        statement = f"insert into t select * from stage on conflict (id) do update set {setting} {guard}"
        theirs = bench.wal(lambda statement=statement: bench.run(NOW, statement))  # type: ignore[misc]
        lines.append(
            Line(
                f"WAL of repairing 1,500 rows, against {name} of the table",
                f"{ours:.1f} MiB",
                f"{theirs:.0f} MiB",
                f"{theirs / ours:.0f}×",
            )
        )
    return lines


def copy_over(bench: Bench) -> None:
    """T's rows into `stage`."""
    with (
        psycopg.connect(bench.dsn(THEN)) as then,
        psycopg.connect(bench.dsn(NOW)) as now,
        then.cursor().copy("copy t to stdout (format binary)") as out,
        now.cursor().copy("copy stage from stdin (format binary)") as into,
    ):
        for block in out:
            into.write(block)


def fill(bench: Bench, scratch: Path) -> list[Line]:
    """A twentieth of the rows missing: found and put back, against staging everything with ON CONFLICT DO NOTHING."""
    incident = "delete from t where id % 20 = 0"

    def ours() -> float:
        boundary = bench.anew(incident)
        return bench.ours("lineage", boundary, scratch).seconds + bench.ours("apply", boundary, scratch).seconds

    def theirs() -> float:
        bench.anew(incident, "create table stage (like t)")

        def by_hand() -> None:
            copy_over(bench)
            bench.run(NOW, "insert into t select * from stage on conflict do nothing")

        return seconds(by_hand)

    a, b = median(bench.repeat, ours), median(bench.repeat, theirs)
    return [
        Line(
            "put back one row in twenty, against staging + ON CONFLICT DO NOTHING",
            f"{a:.1f} s",
            f"{b:.1f} s",
            f"{b / a:.2f}×",
        )
    ]


def shell(command: str) -> None:
    """A pipe as people type it."""
    subprocess.run(["bash", "-c", command], check=True, capture_output=True)  # noqa: S607 (the bash of the path)


def whole(bench: Bench, scratch: Path) -> list[Line]:
    """The truncated table back, secondary index in place."""
    tools = bench.lab.engine.tools.bin
    extra = ("create index on t (title)", "create index on t (n, created)")

    def again() -> int:
        return bench.anew(*extra, "truncate t")

    def ours() -> float:
        return bench.ours("auto", again(), scratch).seconds

    def psql() -> float:
        again()
        command = f'"{tools}/pg_dump" -a -t t "{bench.dsn(THEN)}" | "{tools}/psql" -q "{bench.dsn(NOW)}"'
        return seconds(lambda: shell(f"set -o pipefail; {command}"))

    def directory() -> float:
        again()
        target = scratch / "fd"
        shutil.rmtree(target, ignore_errors=True)
        command = (
            f'"{tools}/pg_dump" -Fd -Z0 -a -j2 -t t -f "{target}" "{bench.dsn(THEN)}" &&'
            f' "{tools}/pg_restore" -a -j2 -d "{bench.dsn(NOW)}" "{target}"'
        )
        return seconds(lambda: shell(command))

    took = median(bench.repeat, ours)
    lines = []
    for name, other in (("pg_dump -a \\| psql", psql), ("pg_dump -Fd -j2, pg_restore -j2", directory)):
        theirs = median(bench.repeat, other)
        lines.append(
            Line(
                f"a truncated table back and proven, against {name} without proof",
                f"{took:.1f} s",
                f"{theirs:.1f} s",
                f"{theirs / took:.2f}×",
            )
        )
    return lines


def memory(bench: Bench, scratch: Path, sizes: tuple[int, ...]) -> list[Line]:
    """Peak memory of diff and apply with one row in twenty gone, at growing sizes; how long the table was locked."""
    lines = []
    for size in sizes:
        build(bench, size)
        boundary = bench.anew("delete from t where id % 20 = 0")
        compared = bench.ours("lineage", boundary, scratch)
        applied = bench.ours("apply", boundary, scratch)
        peak = max(compared.peak_mib, applied.peak_mib)
        lines.append(
            Line(
                f"{size:,} rows, one in twenty gone: peak client memory; writers waited",
                f"{peak:.0f} MiB",
                f"{applied.locked_s:.2f} s",
                "",
            )
        )
    return lines


def build(bench: Bench, count: int) -> None:
    bench.run(
        "postgres",
        f"drop database if exists {NOW} with (force)",
        f"drop database if exists {THEN} with (force)",
        f"create database {THEN}",
    )
    with psycopg.connect(bench.dsn(THEN), autocommit=True) as connection:
        rows(count).load(connection)
    bench.count = count


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


def table(lines: list[Line], bench: Bench, version: str) -> str:
    head = f"`make bench ROWS={bench.count}`, medians of {bench.repeat}, PostgreSQL {version}, {machine()}:"
    body = [f"| {line.what} | {line.ours} | {line.theirs} | {line.ratio} |" for line in lines]
    return "\n".join([head, "", "| what | rowback | the other | ratio |", "|---|---|---|---|", *body])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--page", action="store_true", help="put the table into docs/performance.md")
    asked = parser.parse_args()
    with Lab.start() as lab:
        password = lab.create_instance(INSTANCE, master=MASTER, PubliclyAccessible=False)
        bench = Bench(lab, password, asked.rows, asked.repeat)
        scratch = lab.root / "bench"
        scratch.mkdir()
        build(bench, asked.rows)
        lines = [*diffs(bench, scratch), *wal(bench, scratch), *fill(bench, scratch), *whole(bench, scratch)]
        lines += memory(bench, scratch, (asked.rows // 4, asked.rows, asked.rows * 4))
        bench.count = asked.rows
        text = table(lines, bench, lab.engine.tools.version)
    sys.stdout.write(text + "\n")
    if asked.page:
        head, _, rest = PAGE.read_text().partition("<!-- bench -->\n")
        PAGE.write_text(f"{head}<!-- bench -->\n{text}\n<!-- /bench -->{rest.partition('<!-- /bench -->')[2]}")


if __name__ == "__main__":
    main()
