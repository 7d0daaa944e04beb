"""From how many rows on tables are swapped."""

from __future__ import annotations

import pytest

from recovery.model.load_strategy import ROWS_IN_PLACE, LoadStrategy, is_worth_a_swap

MANY = ROWS_IN_PLACE[LoadStrategy.AUTO]


@pytest.mark.parametrize(
    ("strategy", "rows", "swapped"),
    [
        (LoadStrategy.AUTO, MANY, True),
        (LoadStrategy.AUTO, MANY - 1, False),
        (LoadStrategy.SWAP, 1, True),
        (LoadStrategy.SWAP, 0, False),
        (LoadStrategy.IN_PLACE, MANY, False),
        (LoadStrategy.PLAIN, MANY, False),
    ],
)
def test_who_is_worth_it(strategy: LoadStrategy, rows: int, *, swapped: bool) -> None:
    assert is_worth_a_swap(strategy, rows) is swapped
