"""Defects of the product that are known and not mended yet: met ones are counted apart, all others fail a run.

An entry goes with the commit that mends it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

KNOWN: tuple[tuple[str, str], ...] = ()


def sorted_out(broken: Iterable[str]) -> tuple[list[str], list[str]]:
    """Unknown ones, and the names of known ones."""
    unknown, known = [], []
    for what in dict.fromkeys(broken):
        name = next((name for name, words in KNOWN if re.search(words, what, re.DOTALL)), None)
        if name is None:
            unknown.append(what)
        else:
            known.append(name)
    return unknown, known
