"""1,500 differences all over a table of 2 M rows: found, against reladiff."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psycopg

from benchmarks.bench_lab import INSTANCE, NOW, THEN, Bench, Line, alternating, seconds
from runbooks.lab.background import MASTER

FULL = 2_000_000
CHANGED, GONE = 500, 1000
WAYS = (("lineage", "≥ 20×"), ("buckets", "≥ 8×"))


def scattered(count: int) -> tuple[str, str]:
    """1,000 rows gone and 500 changed, all over the table."""
    return (
        f"delete from t where id in (select (g * {count}::bigint) / {GONE + 1} from generate_series(1, {GONE}) g)",
        f"update t set title = title || '!' where id in"
        f" (select 1 + (g * {count}::bigint) / {CHANGED + 1} from generate_series(1, {CHANGED}) g)",
    )


def measure(bench: Bench) -> list[Line]:
    count = bench.sized(FULL)
    bench.build_rows(count)
    boundary = bench.anew(*scattered(count))
    differing = _differing(bench)

    def ours(what: str) -> float:
        took = bench.ours(what, boundary).seconds
        assert bench.changes() == differing, f"{what} did not find them all"
        return took

    def reladiff() -> float:
        done: list[subprocess.CompletedProcess[str]] = []
        command = _command(bench)
        took = seconds(lambda: done.append(subprocess.run(command, check=False, capture_output=True, text=True)))
        assert "differ" in done[0].stdout.lower(), done[0].stderr
        return took

    sides = [lambda what=what: ours(what) for what, _ in WAYS]
    *took_by_way, theirs = alternating(bench, *sides, reladiff)
    return [
        Line(
            f"1,500 differences in {count:,} rows found by {what}, against reladiff",
            f"{took:.2f} s",
            f"{theirs:.1f} s",
            f"{theirs / took:.1f}×",
            goal,
        )
        for (what, goal), took in zip(WAYS, took_by_way, strict=True)
    ]


def _differing(bench: Bench) -> int:
    """Rows that are gone, and those whose title was changed."""
    with psycopg.connect(bench.dsn(THEN)) as then, psycopg.connect(bench.dsn(NOW)) as now:
        query = "select count(*), count(*) filter (where title like '%!') from t"
        ((rows_then, marked_then),), ((rows_now, marked_now),) = (s.execute(query).fetchall() for s in (then, now))
    return int(rows_then - rows_now + marked_now - marked_then)


def _command(bench: Bench) -> list[str]:
    port = bench.lab.engine.instances[INSTANCE].cluster.port
    sides = [
        x for name in (THEN, NOW) for x in (f"postgresql://{MASTER}:{bench.password}@127.0.0.1:{port}/{name}", "t")
    ]
    return [str(Path(sys.executable).parent / "reladiff"), *sides, "-k", "id", "-c", "%", "-j", "2", "--stats"]
