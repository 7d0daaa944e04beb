"""Statements without their values: logs and session lists are full of people's data."""

from __future__ import annotations

import re
from contextlib import suppress

from pgparse import PGQueryError, normalize

LONGEST_TEXT = 2000
# Names, $1 and signs are kept; comments, numbers and strings, open ones as well, are data.
_TOKEN = re.compile(
    r"""(?P<kept>"[^"]*"|\$\d+|(?!(?:[eEbBxXnN]|[uU]&)')[^\W\d][\w$]*)
    | (?P<comment>--[^\n]*|/\*(?:[^*]|\*(?!/))*+(?:\*/|$))
    | [eE]'(?:[^'\\]|\\.|'')*+'? | (?:[bBxXnN]|[uU]&)?'(?:[^']|'')*+'?
    | \$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|$) | \d[\w.]*""",
    re.VERBOSE | re.DOTALL,
)


def without_values(text: str) -> str:
    """The statement with $1 or … for each constant, and without comments, on one line."""
    with suppress(PGQueryError):  # cut off, or what no parser knows: its constants go all the same
        text = normalize(text)
    return on_one_line(_TOKEN.sub(lambda token: token["kept"] or ("" if token["comment"] else "…"), text))


def shape_of(text: str) -> str:
    """What statements have in common that differ in their values alone."""
    return on_one_line(_TOKEN.sub(lambda token: "" if token["comment"] else _shape(token["kept"]), text))


def _shape(token: str | None) -> str:
    return "…" if token is None or token.startswith("$") else token


def on_one_line(text: str) -> str:
    """The text without line breaks, cut where it grows too long."""
    flat = " ".join(text.split())
    return flat if len(flat) <= LONGEST_TEXT else flat[:LONGEST_TEXT] + " …"
