"""Blocks of the copy that a comparison reads: a restored volume loads each of them from S3 when it is first touched.

T is copied anew before each incident, so none of its blocks is in the server's memory: what the server counts as read
are blocks, each once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg

from benchmarks.bench_lab import NOW, THEN, Bench, Line

FULL, COLD = 600_000, "big_cold"  # the table and its index fit into the server's memory
READ = (
    "select heap_blks_read, coalesce(idx_blks_read, 0), pg_relation_size('t') / 8192, pg_indexes_size('t') / 8192"
    " from pg_statio_user_tables where relname = 't'"
)
OTHERS = "select from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"


@dataclass(frozen=True)
class Incident:
    """What happened to the rows `where`; `compare`: how they are looked for."""

    name: str
    statement: str
    where: str
    compare: str


INCIDENTS = (
    Incident("1,500 rows deleted here and there", "delete from t", "id % 400 = 0", "lineage"),
    Incident("1,500 rows updated here and there", "update t set title = 'wrong'", "id % 400 = 0", "repair"),
    Incident("a run of 1,500 rows updated", "update t set title = 'wrong'", "id <= 1500", "repair"),
)


def measure(bench: Bench) -> list[Line]:
    count = bench.sized(FULL)
    bench.build_rows(count)
    held = bench.sums(THEN, ["t"])
    return [line for incident in INCIDENTS for line in _measure(bench, incident, held)]


def _measure(bench: Bench, incident: Incident, held: list[object]) -> Iterator[Line]:
    boundary = bench.anew()
    xid = bench.incident(f"{incident.statement} where {incident.where}")
    bench.run("postgres", f"create database {COLD} template {THEN}")
    bench.run("postgres", f"drop database {THEN} with (force)", f"alter database {COLD} rename to {THEN}")
    bench.ours(incident.compare, boundary, *([xid] if incident.compare == "repair" else []))
    with psycopg.connect(bench.dsn(THEN), autocommit=True) as then:
        deadline = time.monotonic() + 10
        while then.execute(OTHERS).fetchall():  # a session's counts are there when it is gone
            assert time.monotonic() < deadline
            time.sleep(0.05)
        heap, index, heap_all, index_all = then.execute(READ).fetchone() or (0, 0, 0, 0)
        blocks = then.execute(f"select distinct (ctid::text::point)[0] from t where {incident.where}").fetchall()
    bench.ours("apply", boundary)
    assert bench.sums(NOW, ["t"]) == held
    read = f"{heap:,} of the table, {index:,} of its index"
    there = f"{len(blocks):,} hold the rows; {heap_all:,} and {index_all:,} in all"
    yield Line(f"{incident.name}: blocks of the copy that are read", read, there)
