"""What a repair costs by size: bad updates of ever more rows, and many tables with one lost row each.

python -m benchmarks.repair_bench --sizes 1000 10000 100000 --tables 2000
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from runbooks.lab.lab_server import Lab
from tests.fix_lab import Database, Live
from tests.fix_repair import Times, at_target, xid_of

ROWS = 200_000


def main() -> None:
    """Print seconds and, for updates, the ratio of the times per row to those of the smallest size."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--tables", type=int, default=2_000)
    asked = parser.parse_args()
    with Lab.start() as lab:
        live = Live(
            lab, "bench", lab.create_instance("bench", PubliclyAccessible=False, DBInstanceClass="db.m6g.large")
        )
        first: tuple[float, float] | None = None
        for size in asked.sizes:
            compared, locked = (seconds / size for seconds in updates(live, size))
            first = first or (compared, locked)
            print(  # noqa: T201
                f"bad UPDATE of {size:,} of {ROWS:,} rows: {compared * 1e6:,.0f} us a row compared"
                f" ({compared / first[0]:.2f}), {locked * 1e6:,.0f} us a row locked ({locked / first[1]:.2f})"
            )
        if asked.tables:
            print(f"{asked.tables:,} tables with one lost row each: locked {tables(live, asked.tables):.2f} s")  # noqa: T201


def updates(live: Live, size: int) -> tuple[float, float]:
    """Seconds of the comparison, and under the lock."""
    database = _database(live, f"updates{size}")
    database.run(
        "create table goods (id bigint primary key, code text unique, price int not null, note text not null)",
        f"insert into goods select g, 'c' || g, 1 + g % 500, 'note ' || g from generate_series(1, {ROWS}) g",
        "vacuum analyze goods",
    )
    with at_target(database, Path(tempfile.mkdtemp())) as times:
        xid = xid_of(live, database, f"update goods set price = 0 where id <= {size}")
        return _repaired(times, mode="repair", incident_xids=(xid,))


def tables(live: Live, count: int) -> float:
    """Seconds under the lock."""
    database = _database(live, "tables")
    for start in range(0, count, 100):
        numbers = range(start, min(start + 100, count))
        database.run(
            *(f"create table t{n} (id int primary key, v text)" for n in numbers),
            *(f"insert into t{n} values (1, 'a'), (2, 'b')" for n in numbers),
        )
    with at_target(database, Path(tempfile.mkdtemp())) as times:
        for start in range(0, count, 100):
            database.run(*(f"delete from t{n} where id = 1" for n in range(start, min(start + 100, count))))
        return _repaired(times)[1]


def _repaired(times: Times, **request: Any) -> tuple[float, float]:
    began = time.monotonic()
    times.diff(**request)
    compared = time.monotonic() - began
    times.apply()
    return compared, times.done[-1].seconds_locked


def _database(live: Live, name: str) -> Database:
    with live.connect() as server:
        server.execute(f"create database {name}")
    return Database(live, name)


if __name__ == "__main__":
    main()
