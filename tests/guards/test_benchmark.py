"""The guards' benchmark runs; its figures are for people, and nothing here judges them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.guards.inner import ran

pytestmark = pytest.mark.matrix

ROOT = Path(__file__).parents[2]


def test_the_benchmark_measures_every_side() -> None:
    found = ran(ROOT, "-m", "benchmarks.guard_bench", "--count", "200", "--rounds", "1", "--tests", "5")
    assert found.code == 0, found.out
    lines = [line.split(" | ") for line in found.out.splitlines()[2:]]
    assert len(lines) == 4 + 6 + 1 + 9
    for what, ours, theirs, ratio in lines:
        assert re.search(r"\d ", ours), what
        assert re.search(r"\d ", theirs), what
        assert re.search(r"\d×", ratio), what
