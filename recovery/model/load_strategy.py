"""How a table is loaded whole, and from how many rows on."""

from __future__ import annotations

from enum import StrEnum


class LoadStrategy(StrEnum):
    """What becomes of a table's non-unique indexes while it is loaded whole."""

    AUTO = "auto"  # in place where a table gets many rows, else plain
    IN_PLACE = "in-place"  # dropped before, built again from all rows at once
    PLAIN = "plain"  # they stay, and every row is entered into each


# The fewest rows of a table that is loaded in place: from there on it is worth two more statements for each index.
ROWS_IN_PLACE = {LoadStrategy.AUTO: 50_000, LoadStrategy.IN_PLACE: 1}

INDEXES = {
    LoadStrategy.AUTO: "non-unique ones of tables that get many rows are dropped before the rows come, and built after"
    " them (--load plain keeps them)",
    LoadStrategy.IN_PLACE: "non-unique ones of tables loaded whole are dropped before the rows come, and built after"
    " them",
    LoadStrategy.PLAIN: "all stay, and every row is entered into each",
}  # what a plan says of it
