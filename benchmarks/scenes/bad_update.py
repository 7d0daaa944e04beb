"""A bad UPDATE of ever more rows of 2 M taken back, against staging everything with a guarded upsert."""

from __future__ import annotations

from benchmarks.bench_lab import NOW, THEN, Bench, Line, alternating, seconds
from benchmarks.scenes.wal_of_repairs import upsert

FULL = 2_000_000
SHARES = (2000, 200, 20)  # one row in so many: 1,000, 10,000 and 100,000 of all


def measure(bench: Bench) -> list[Line]:
    count = bench.sized(FULL)
    bench.build_rows(count)
    held = bench.sums(THEN, ["t"])
    lines: list[Line] = []
    for every in SHARES:
        updated = count // every
        locked: list[float] = []
        undone: list[float] = []

        def ours(every: int = every, locked: list[float] = locked, undone: list[float] = undone) -> float:
            boundary = bench.anew()
            xid = _update(bench, every)
            compared = bench.ours("repair", boundary, xid).seconds
            applied = bench.ours("apply", boundary)
            assert bench.sums(NOW, ["t"]) == held
            locked.append(applied.locked_s)
            took = compared + applied.seconds
            undone.append(bench.ours("undo", boundary).seconds / took)
            return took

        def theirs(every: int = every) -> float:
            bench.anew("create table stage (like t)")
            _update(bench, every)

            def by_hand() -> None:
                bench.copy_over("select * from t", "stage")
                bench.run(NOW, upsert(guarded=True))

            return seconds(by_hand)

        a, b = alternating(bench, ours, theirs)
        what = f"bad UPDATE of {updated:,} in {count:,} rows"
        lines += [
            Line(f"{what}, against a guarded upsert of all", f"{a:.1f} s", f"{b:.1f} s", f"{b / a:.2f}×", "≥ 3×"),
            Line(
                f"{what}: a row; writers waited",
                f"{a / updated * 1e6:,.0f} µs; {min(locked):.2f} s",
                goal="≤ 1 s per 10,000",
            ),
            Line("undo of that, against the repair", "", "", f"{min(undone):.2f}×", "≤ 1.5×"),
        ]
    return lines


def _update(bench: Bench, every: int) -> int:
    """The transaction id of the UPDATE."""
    return bench.incident(f"update t set title = 'wrong', amount = 0 where id % {every} = 0")
