"""2,000 tables of which each lost a row."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.bench_lab import NOW, THEN, Bench, Line

FULL = 2_000
AT_ONCE = 100  # statements of one transaction


def measure(bench: Bench) -> list[Line]:
    count = max(20, int(FULL * bench.share))
    numbers = range(count)
    names = [f"t{n}" for n in numbers]
    bench.build(*_chunks(f"create table t{n} (id int primary key, v text)" for n in numbers))
    bench.run(THEN, *_chunks(f"insert into t{n} values (1, 'a'), (2, 'b')" for n in numbers))
    boundary = bench.anew(*_chunks(f"delete from t{n} where id = 1" for n in numbers))
    compared = bench.ours("lineage", boundary).seconds
    applied = bench.ours("apply", boundary)
    assert bench.sums(NOW, names) == bench.sums(THEN, names)
    undone = bench.ours("undo", boundary).seconds
    took = compared + applied.seconds
    return [
        Line(f"{count:,} tables with one lost row each: end to end", f"{took:.1f} s", goal="≤ 30 s of 2,000"),
        Line("of that, writers waited", f"{applied.locked_s:.2f} s", goal="≤ 2 s of 2,000"),
        Line("undo of that, against the repair", f"{undone:.1f} s", "", f"{undone / took:.2f}×", "≤ 1.5×"),
    ]


def _chunks(statements: Iterable[str]) -> list[str]:
    listed = list(statements)
    return ["; ".join(listed[start : start + AT_ONCE]) for start in range(0, len(listed), AT_ONCE)]
