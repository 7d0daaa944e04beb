"""How a table is loaded whole, and from how many rows on."""

from __future__ import annotations

from enum import StrEnum


class LoadStrategy(StrEnum):
    """How the rows of tables that are loaded whole get into them and their indexes."""

    AUTO = "auto"  # many rows by swap, or in place where that cannot be; few plain
    SWAP = "swap"  # into new tables under hidden names, which are exchanged for the old ones
    IN_PLACE = "in-place"  # non-unique indexes are dropped before, and built again from all rows at once
    PLAIN = "plain"  # all indexes stay, and every row is entered into each


# The fewest rows that are worth it: of one table in place, of all together by swap.
ROWS_IN_PLACE = {LoadStrategy.AUTO: 50_000, LoadStrategy.SWAP: 1, LoadStrategy.IN_PLACE: 1}
SWAPPING = (LoadStrategy.AUTO, LoadStrategy.SWAP)


def is_worth_a_swap(strategy: LoadStrategy, rows: int) -> bool:
    """Whether tables that get so many rows together are to be swapped, if nothing is in the way."""
    return strategy in SWAPPING and rows >= ROWS_IN_PLACE[strategy]


LOADS = {
    LoadStrategy.AUTO: "many rows by swap, in place where that cannot be; few with all indexes in their places",
    LoadStrategy.SWAP: "built beside the tables under hidden names, then exchanged; in place where that cannot be",
    LoadStrategy.IN_PLACE: "non-unique indexes are dropped before the rows come, and built after them",
    LoadStrategy.PLAIN: "all indexes stay, and every row is entered into each",
}  # what a plan says of it
