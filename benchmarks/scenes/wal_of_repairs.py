"""The WAL of repairing 1,500 rows of 1 M, against upserts of the whole table."""

from __future__ import annotations

from benchmarks.bench_lab import NOW, THEN, Bench, Line
from benchmarks.scenes.differences import scattered

FULL = 1_000_000
COLUMNS = ("n", "title", "created", "updated", "amount", "body", "meta")


def upsert(*, guarded: bool) -> str:
    """Everything in `stage` into t; guarded: only where it differs."""
    setting = ", ".join(f"{column} = excluded.{column}" for column in COLUMNS)
    old, new = (", ".join(f"{row}.{column}" for column in COLUMNS) for row in ("t", "excluded"))
    guard = f"where ({old}) is distinct from ({new})" if guarded else ""
    return f"insert into t select * from stage on conflict (id) do update set {setting} {guard}"


def measure(bench: Bench) -> list[Line]:
    count = bench.sized(FULL)
    bench.build_rows(count)
    held = bench.sums(THEN, ["t"])
    boundary = bench.anew()
    bench.ours("repair", boundary, bench.incident(*scattered(count)))
    ours = bench.wal(lambda: bench.ours("apply", boundary))
    assert bench.sums(NOW, ["t"]) == held
    lines = []
    for name, guarded in (("guarded upsert", True), ("plain upsert", False)):
        bench.anew(*scattered(count), "create unlogged table stage (like t)")
        bench.copy_over("select * from t", "stage")
        statement = upsert(guarded=guarded)
        theirs = bench.wal(lambda statement=statement: bench.run(NOW, statement))  # type: ignore[misc]
        lines.append(
            Line(
                f"WAL of repairing 1,500 of {count:,} rows, against {name} of the table",
                f"{ours:.1f} MiB",
                f"{theirs:.0f} MiB",
                f"{theirs / ours:.0f}×",
            )
        )
    return lines
