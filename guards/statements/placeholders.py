"""Driver spellings (`%s`, `%(name)s`, `%%`, `:name`, and JDBC's `?`) as the server would see them."""

from __future__ import annotations

import re
from typing import Literal

Placeholders = Literal["python", "jdbc"]  # jdbc: `?` is one, and `??` the operator

_NAMED = r"\([^()]{0,200}\)"
PLACEHOLDER = re.compile(rf"%(?:{_NAMED})?[sbt]|%%|(?<![:\w]):[A-Za-z_]")
_QUESTION_MARK = re.compile(r"\?")
# What begins something that is passed over, or may be a placeholder. A text is read once, from there to its end.
_NEXT = re.compile(r"""['"%:$?]|--|/\*""")
_PERCENT = re.compile(rf"%%|%({_NAMED})?[sbt]")
_COLON = re.compile(r":([A-Za-z_]\w*)")
_PASSED_OVER = {
    "'": re.compile(r"'[^']*(?:''[^']*)*'"),
    '"': re.compile(r'"[^"]*(?:""[^"]*)*"'),
    "--": re.compile(r"--[^\n]*"),
}
_ESCAPED = re.compile(r"'[^'\\]*(?:(?:\\.|'')[^'\\]*)*'", re.DOTALL)
_TAG = re.compile(r"\$(?:[^\W\d]\w*)?\$")
_COMMENT_EDGE = re.compile(r"/\*|\*/")


def has_placeholders(text: str, style: Placeholders = "python") -> bool:
    """Whether a driver may put something else into the text before it is sent."""
    return bool(PLACEHOLDER.search(text) or (style == "jdbc" and _QUESTION_MARK.search(text)))


def as_the_server_sees_it(text: str, style: Placeholders = "python") -> str:
    """The text with numbered parameters. Equal names share a number, as drivers send them.

    Strings, quoted names, comments and dollar quotes are passed over. Linear in the text's length: what is not
    terminated ends the reading, as it does on the server.
    """
    numbers: dict[str, int] = {}
    parts, at = [], 0
    while begin := _NEXT.search(text, at):
        start = begin.start()
        parts.append(text[at:start])
        end = _end_of(text, start, begin[0])
        if end is None:
            at = start
            break
        piece = text[start:end]
        parts.append(_parameter(piece, numbers, style) if begin[0] in "%:?" else piece.replace("%%", "%"))
        at = end
    return "".join([*parts, text[at:]])


def _end_of(text: str, start: int, token: str) -> int | None:
    """Where what begins at `start` ends; None where it is not terminated."""
    match token:
        case "%":
            match = _PERCENT.match(text, start)
            return match.end() if match else start + 1
        case ":":
            return _end_of_colon(text, start)
        case "?":
            return start + (2 if text.startswith("??", start) else 1)
        case "$":
            return _end_of_dollar(text, start)
        case "/*":
            return _end_of_comment(text, start)
        case "'" if text[max(0, start - 1) : start] in ("e", "E") and not _is_word(text[max(0, start - 2) : start - 1]):
            match = _ESCAPED.match(text, start)
        case _:
            match = _PASSED_OVER[token].match(text, start)
    return match.end() if match else None


def _end_of_colon(text: str, start: int) -> int:
    if text.startswith("::", start):
        return start + 2
    match = None if _is_word(text[max(0, start - 1) : start]) else _COLON.match(text, start)
    return match.end() if match else start + 1


def _end_of_dollar(text: str, start: int) -> int | None:
    tag = None if _is_word(text[max(0, start - 1) : start]) else _TAG.match(text, start)
    if tag is None:
        return start + 1
    close = text.find(tag[0], tag.end())
    return close + len(tag[0]) if close >= 0 else None


def _end_of_comment(text: str, start: int) -> int | None:
    """They nest."""
    depth = 0
    for edge in _COMMENT_EDGE.finditer(text, start):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return None


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _parameter(piece: str, numbers: dict[str, int], style: Placeholders) -> str:
    """`$n` for a placeholder; what is none, as it stands."""
    if piece == "%%":
        return "%"
    if piece.startswith("?"):
        return piece if style != "jdbc" else "?" if piece == "??" else f"${_number(f'#{len(numbers)}', numbers)}"
    if len(piece) == 1 or piece == "::":
        return piece
    name = piece[1:] if piece.startswith(":") else piece[2:-2] if "(" in piece else f"#{len(numbers)}"
    return f"${_number(name, numbers)}"


def _number(name: str, numbers: dict[str, int]) -> int:
    return numbers.setdefault(name, len(numbers) + 1)
