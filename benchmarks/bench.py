"""Both sides of every claim in one run.

python -m benchmarks.bench [--scene NAME …] [--share 0.01] [--repeat 3] [--page]

Medians of `repeat` runs, the order alternating; ratios are what counts, seconds are this machine's. `--share`: of the
full size, which docs/performance.md shows.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.bench_lab import bench_lab, machine
from benchmarks.scenes import SCENES

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
HEAD = "| what | rowback | the other | ratio | goal |\n|---|---|---|---|---|"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scene", action="append", choices=[*SCENES], help="default: all")
    parser.add_argument("--share", type=float, default=0.01, help="of the full size")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--page", action="store_true", help="put the tables into docs/performance.md")
    asked = parser.parse_args()
    for name in asked.scene or SCENES:
        with bench_lab(asked.share, asked.repeat) as bench:
            lines = SCENES[name](bench)
            version = bench.lab.engine.tools.version
        command = f"`make bench SCENE={name} SHARE={asked.share:g} REPEAT={asked.repeat}`"
        of = f"{datetime.now(UTC):%Y-%m-%d}, PostgreSQL {version}, {machine()}"
        text = "\n".join([f"{command}, {of}:", "", HEAD, *map(str, lines)])
        sys.stdout.write(f"{text}\n\n")
        sys.stdout.flush()
        if asked.page:
            put(name, text)


def put(scene: str, text: str) -> None:
    """Replace the scene's table on the page."""
    first, last = f"<!-- {scene} -->\n", f"<!-- /{scene} -->"
    head, _, rest = PAGE.read_text().partition(first)
    assert rest, f"docs/performance.md has no place for {scene}"
    PAGE.write_text(f"{head}{first}{text}\n{last}{rest.partition(last)[2]}")


if __name__ == "__main__":
    main()
