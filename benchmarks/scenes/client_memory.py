"""Peak memory of rowback's process with one row in twenty gone, at growing sizes."""

from __future__ import annotations

from benchmarks.bench_lab import NOW, THEN, Bench, Line

SIZES = (500_000, 2_000_000, 8_000_000)


def measure(bench: Bench) -> list[Line]:
    lines = []
    for full in SIZES:
        count = bench.sized(full)
        bench.build_rows(count)
        boundary = bench.anew("delete from t where id % 20 = 0")
        compared, applied = bench.ours("lineage", boundary), bench.ours("apply", boundary)
        assert bench.sums(NOW, ["t"]) == bench.sums(THEN, ["t"])
        lines.append(
            Line(
                f"{count:,} rows, one in twenty gone: peak client memory; writers waited",
                f"{max(compared.peak_mib, applied.peak_mib):.0f} MiB; {applied.locked_s:.2f} s",
                goal="flat, ≤ 150 MiB",
            )
        )
    return lines
