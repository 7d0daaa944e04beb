r"""A row as COPY writes it: one line of text, which goes from one server to the other without becoming values here.

Values are parted by tabs, null is `\N`, and what would end a value or the line is escaped (source: PostgreSQL, COPY,
"Text Format"). Two lines are equal exactly when all values are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

NULL = "\\N"
WITHOUT_VALUES = "\\."  # of a table without columns; it ends the data of a COPY, so it is never a row's line
_LETTERS = {"\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t", "\v": "v", "\\": "\\"}
_ESCAPED = {character: f"\\{letter}" for character, letter in _LETTERS.items()}
_CHARACTERS = {letter: character for character, letter in _LETTERS.items()}
_SPECIAL = re.compile(r"[\b\f\n\r\t\v\\]")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


def line_of(values: Sequence[str | None]) -> str:
    """The line of a row with these values; the same that the server would write."""
    if not values:
        return WITHOUT_VALUES
    return "\t".join([NULL if value is None else _escape(value) for value in values])


def values_of(line: str) -> tuple[str | None, ...]:
    """The values of a line."""
    if "\\" not in line:
        return tuple(line.split("\t"))
    if line == WITHOUT_VALUES:
        return ()
    texts = line.split("\t")
    if line.count("\\") == texts.count(NULL):
        return tuple([None if text == NULL else text for text in texts])
    return tuple([None if text == NULL else unescaped(text) for text in texts])


def unescaped(text: str) -> str:
    """One value that is not null, as it was before it was written into a line."""
    return _ESCAPE.sub(_character, text) if "\\" in text else text


def _escape(value: str) -> str:
    return _SPECIAL.sub(lambda match: _ESCAPED[match[0]], value)


def _character(match: re.Match[str]) -> str:
    return _CHARACTERS.get(match[1], match[1])
