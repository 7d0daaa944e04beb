"""How fast a log is read, against pgBadger on the same file: python -m benchmarks.log_bench [--mib 200]

The log is of RDS's form, as `log_statement = all` with durations writes it: 64 sessions that read and write by key in
transactions, and a few statements that destroy something. Both sides run as processes of their own; seconds are of CPU.
"""

from __future__ import annotations

import argparse
import random
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

SESSIONS = 64
DESTROYING = 40


def lines(count: int) -> Iterator[str]:
    """One transaction of one session after the other; every so often a DELETE without a condition."""
    chance = random.Random(5)  # noqa: S311 (no secret)
    at, every = datetime(2026, 11, 22, 8, tzinfo=UTC), max(1, count // DESTROYING)
    for number in range(count):
        session, key = chance.randrange(SESSIONS), chance.randrange(10_000_000)
        at += timedelta(microseconds=chance.randrange(3000))
        head = f"{at:%Y-%m-%d %H:%M:%S} UTC:10.0.{session}.7({40000 + session}):app@shop:[{2000 + session}]:LOG:  "
        bodies = [
            "statement: BEGIN",
            f"execute S_{session}: SELECT o.id, o.state, o.total FROM orders o JOIN customers c ON c.id = o.customer_id"
            f" WHERE c.id = {key} AND o.state <> 'closed' ORDER BY o.created_at DESC LIMIT 20",
            f"execute S_{session + 1}: UPDATE orders SET state = 'paid', updated_at = now() WHERE id = {key}",
            f"execute S_{session + 2}: INSERT INTO audit (order_id, what, at) VALUES ({key}, 'paid', now())",
            "statement: COMMIT",
        ]
        if number % every == every // 2:
            bodies[2] = f"statement: DELETE FROM carts_{number}"
        for body in bodies:
            yield f"{head}{body}\n{head}duration: {chance.random() * 4:.3f} ms\n"


def write(path: Path, mib: int) -> int:
    """A log of about so many MiB; the number of statements that destroy something."""
    size, count = 0, mib * 900
    with path.open("w") as out:
        for line in lines(count):
            out.write(line)
            size += len(line)
            if size > mib << 20:
                break
    return sum(1 for line in path.open() if "DELETE FROM carts" in line)


def cpu_s(command: list[str], cwd: Path) -> tuple[float, float, str]:
    """CPU seconds and peak MiB of one process, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(["/usr/bin/env", *command], check=True, capture_output=True, text=True, cwd=cwd)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used, after.ru_maxrss / 1024, done.stdout


def ours(path: Path) -> None:
    """Read it as `rowback find --log` does; prints what was found."""
    from recovery.incident.scan_log import find_in

    with path.open("rb") as log:
        found = find_in(iter(lambda: log.read(1 << 20), b""), "%t:%r:%u@%d:[%p]:")
    sys.stdout.write(f"{sum(s.outcome == 'committed' for s in found.sightings if 'carts' in s.text)}\n")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--mib", type=int, default=200)
    parser.add_argument("--read", type=Path)
    asked = parser.parse_args()
    if asked.read:
        ours(asked.read)
        return
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "postgresql.log.2026-11-22-08"
        there = write(path, asked.mib)
        size = path.stat().st_size / 2**20
        root = Path(__file__).parents[1]
        used, peak, told = cpu_s([sys.executable, "-m", "benchmarks.log_bench", "--read", str(path)], root)
        assert int(told) == there, f"{told.strip()} of {there} found"
        sys.stdout.write(
            f"rowback   {size / used:6.1f} MiB/s of CPU, {used:.1f} s, peak {peak:.0f} MiB; {there} found\n"
        )
        if badger := shutil.which("pgbadger"):
            command = [
                badger,
                "-f",
                "stderr",
                "-p",
                "%t:%r:%u@%d:[%p]:",
                "-o",
                f"{directory}/out.json",
                "-q",
                str(path),
            ]
            theirs, peak, _ = cpu_s(command, root)
            sys.stdout.write(f"pgBadger  {size / theirs:6.1f} MiB/s of CPU, {theirs:.1f} s, peak {peak:.0f} MiB\n")
            sys.stdout.write(f"ratio     {theirs / used:.1f}×\n")
        else:
            sys.stdout.write("pgBadger is not installed here: no other side\n")


if __name__ == "__main__":
    main()
