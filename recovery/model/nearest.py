"""The names that one which does not exist was probably meant to be."""

from __future__ import annotations

from collections.abc import Iterable

ALIKE = 0.5  # of difflib's ratio: orders-stagin and orders-staging have 0.96
SHOWN = 3


def nearest(name: str, names: Iterable[str]) -> list[str]:
    """At most three of `names` that are spelled alike, the nearest first."""
    from difflib import get_close_matches

    return get_close_matches(name, list(names), n=SHOWN, cutoff=ALIKE)


def nearest_line(near: list[str], otherwise: str) -> str:
    """The line of an error that gives them; `otherwise`: what there is to say where none is near."""
    return f"nearest names: {', '.join(near)}" if near else otherwise
