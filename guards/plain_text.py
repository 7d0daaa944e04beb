"""Text that a terminal shows as it is: names, values and log lines may hold anything, and none of it is obeyed.

Control characters (C0, DEL, C1), what turns the direction of text, line separators and halves of surrogate pairs are
shown as escapes. A newline inside a value is one of them, because a forged line reads like a genuine one.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

_UNSAFE = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f"
)
_IN_LINES = re.compile(f"[{_UNSAFE}]")
_IN_A_LINE = re.compile(f"[\t\n{_UNSAFE}]")
_HALVES = re.compile(r"[\ud800-\udfff]")
_NAMED = {"\n": r"\n", "\t": r"\t", "\r": r"\r"}


def plain(text: str) -> str:
    """`text` as one line without anything that a terminal would act on."""
    return _IN_A_LINE.sub(_escaped, text)


def plain_lines(text: str) -> str:
    """The same of a text of several lines: its newlines and tabs stay."""
    return _IN_LINES.sub(_escaped, text)


def whole_characters(text: str) -> str:
    """`text` with nothing but halves of surrogate pairs escaped, which no stream can carry."""
    return _HALVES.sub(_escaped, text)


def joined(lines: Iterable[str]) -> str:
    """Lines as a text: a newline inside one of them is none of the text's."""
    return "\n".join(map(plain, lines))


def shell_word(text: str) -> str:
    """`text` as one word for a shell, on one line and harmless to a terminal."""
    if not _IN_A_LINE.search(text):
        return shlex.quote(text)
    body = text.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + _IN_A_LINE.sub(_escaped, body) + "'"


def _escaped(match: re.Match[str]) -> str:
    """As Python, JSON and bash's $'…' write it."""
    character = match[0]
    number = ord(character)
    if character in _NAMED:
        return _NAMED[character]
    if number < 0x80:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
