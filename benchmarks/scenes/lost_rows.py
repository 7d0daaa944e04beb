"""Deleted rows found and put back, proven and undone, against staging everything with ON CONFLICT DO NOTHING."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.bench_lab import NOW, THEN, Bench, Line, alternating, seconds

FIVE_INDEXES = (
    "create index on t (title)",
    "create index on t (n, created)",
    "create index on t (updated)",
    "create index on t (amount)",
    "create index on t (created desc, id)",
)


@dataclass(frozen=True)
class Incident:
    """One row in `every` of `full` is gone."""

    full: int
    every: int
    indexes: tuple[str, ...]
    goal: str


INCIDENTS = (Incident(1_000_000, 20, (), "≥ 1.5×"), Incident(5_000_000, 50, FIVE_INDEXES, "≥ 4×"))


def measure(bench: Bench) -> list[Line]:
    return [line for incident in INCIDENTS for line in _measure(bench, incident)]


def _measure(bench: Bench, incident: Incident) -> list[Line]:
    count = bench.sized(incident.full)
    bench.build_rows(count, *incident.indexes)
    deletion = f"delete from t where id % {incident.every} = 0"
    held = bench.sums(THEN, ["t"])
    undone: list[float] = []

    def ours() -> float:
        boundary = bench.anew(deletion)
        took = bench.ours("lineage", boundary).seconds + bench.ours("apply", boundary).seconds
        assert bench.sums(NOW, ["t"]) == held
        undone.append(bench.ours("undo", boundary).seconds / took)
        return took

    def theirs() -> float:
        bench.anew(deletion, "create table stage (like t)")

        def by_hand() -> None:
            bench.copy_over("select * from t", "stage")
            bench.run(NOW, "insert into t select * from stage on conflict do nothing")

        return seconds(by_hand)

    a, b = alternating(bench, ours, theirs)
    what = f"{count // incident.every:,} rows missing of {count:,} with {len(incident.indexes) + 1} indexes"
    return [
        Line(f"{what}, against staging + ON CONFLICT", f"{a:.1f} s", f"{b:.1f} s", f"{b / a:.2f}×", incident.goal),
        Line("undo of that, against the repair", "", "", f"{min(undone):.2f}×", "≤ 1.5×"),
    ]
