"""Changes to texts and bytes. All take a random source first, and are repeatable by it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from random import Random

LONGEST = 1 << 20
INTEGERS = (
    "0",
    "-1",
    "1",
    "00",
    "127",
    "255",
    "256",
    "32767",
    "65535",
    "65536",
    "99999",
    "2147483647",
    "2147483648",
    "-2147483649",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "1e400",
    "0x10",
    "٣",
    "1_000",
    "9" * 40,
    "9" * 5000,
    "NaN",
    "Infinity",
    "1.5",
    "²",
)
CHARACTERS = (
    "\0",
    "\n",
    "\r",
    "\r\n",
    "\t",
    "\v",
    "\f",
    "\x1b[2J",
    "\x1b]0;x\x07",
    "\x7f",
    "\x85",
    "\x9b",
    "\xa0",
    "\xad",
    "\u2028",
    "\u2029",
    "\u200b",
    "\u202e",
    "\u2066",
    "\ufeff",
    "\ufffd",
    "\ufffe",
    "\uffff",
    "\ud800",
    "\udc80",
    "\udfff",
    "\ud83d",
    "\U0001f600",
    "\U0010ffff",
    "é",
    "e\u0301",
    "한",
    "ß",
    "İ",
    "ﬁ",
    "'",
    '"',
    "`",
    "\\",
    "$",
    "%",
    "%s",
    "{",
    "}",
    "{}",
    "[",
    "]",
    "(",
    ")",
    "<",
    ">",
    "&",
    "=",
    ":",
    ";",
    ",",
    ".",
    "/",
    "//",
    "@",
    "#",
    "|",
    "*",
    "?",
    "~",
    "!",
    "^",
    "+",
    "-",
    "--",
    " ",
    "  ",
    "",
)
DEPTHS = (3, 10, 60, 300, 1200)
DEEPEST, DEEP_ONCE_IN = 100_000, 60
NESTING = (("[", "]"), ("{", "}"), ("(", ")"), ('{"a":', "}"), ("<a>", "</a>"), ("> ", ""), ("- ", ""), ("((", "))"))
_NUMBER = re.compile(r"\d+")

Mutation = Callable[[Random, str, Sequence[str]], str]


def mutated(rng: Random, seeds: Sequence[str], tokens: Sequence[str] = ()) -> str:
    """One of `seeds` after one or several changes. `tokens`: words that mean something to the parser."""
    text = rng.choice(seeds)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4, 8))):
        change = rng.choice(_OFTEN) if rng.random() > 0.02 else rng.choice(_SELDOM)
        text = change(rng, text, seeds if change is spliced else tokens)
    return text[:LONGEST]


def mutated_bytes(rng: Random, seeds: Sequence[bytes], tokens: Sequence[str] = ()) -> bytes:
    """The same of bytes: each of them is one character meanwhile."""
    return _as_bytes(mutated(rng, [seed.decode("latin-1") for seed in seeds], _latin(tuple(tokens))))


def changed(rng: Random, text: str) -> str:
    """One small change, for texts inside of documents."""
    change = rng.choice(_OFTEN)
    return change(rng, text, (text,) if change is spliced else ())


@lru_cache(maxsize=64)
def _latin(tokens: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(token.encode("utf-8", "surrogatepass").decode("latin-1") for token in tokens)


def _as_bytes(text: str) -> bytes:
    """Characters beyond a byte came from changes: they are written as UTF-8."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return b"".join(
            letter.encode("latin-1") if letter < "\u0100" else letter.encode("utf-8", "surrogatepass")
            for letter in text
        )


def _span(rng: Random, text: str, longest: int = 64) -> tuple[int, int]:
    start = rng.randrange(len(text) + 1)
    return start, min(len(text), start + rng.randint(0, rng.choice((1, 4, longest))))


def flipped(rng: Random, text: str, tokens: Sequence[str]) -> str:
    """One bit of one character."""
    if not text:
        return "\x01"
    at = rng.randrange(len(text))
    return text[:at] + chr(ord(text[at]) ^ 1 << rng.randrange(7)) + text[at + 1 :]


def cut(rng: Random, text: str, tokens: Sequence[str]) -> str:
    """Without a part."""
    start, end = _span(rng, text)
    return text[:start] + text[end:]


def broken_off(rng: Random, text: str, tokens: Sequence[str]) -> str:
    """Only its beginning, or only its end."""
    at = rng.randrange(len(text) + 1)
    return text[:at] if rng.random() < 0.5 else text[at:]


def doubled(rng: Random, text: str, tokens: Sequence[str]) -> str:
    """With a part twice."""
    start, end = _span(rng, text, 256)
    return text[:end] + text[start:end] + text[end:]


def moved(rng: Random, text: str, tokens: Sequence[str]) -> str:
    """With a part in another place."""
    start, end = _span(rng, text, 256)
    rest = text[:start] + text[end:]
    at = rng.randrange(len(rest) + 1)
    return rest[:at] + text[start:end] + rest[at:]


def with_token(rng: Random, text: str, tokens: Sequence[str]) -> str:
    """With a word of the format in place of a part, or between."""
    start, end = _span(rng, text, 16) if rng.random() < 0.5 else (rng.randrange(len(text) + 1),) * 2
    return text[:start] + rng.choice(tokens or CHARACTERS) + text[end:]


def with_character(rng: Random, text: str, tokens: Sequence[str]) -> str:
    """With a character that programs stumble over."""
    start, end = _span(rng, text, 2)
    return text[:start] + rng.choice(CHARACTERS) + text[end:]


def with_integer(rng: Random, text: str, tokens: Sequence[str]) -> str:
    """With another number in place of one that is there."""
    numbers = [match.span() for match in _NUMBER.finditer(text[:65536])] if rng.random() < 0.8 else []
    start, end = rng.choice(numbers) if numbers else _span(rng, text, 4)
    return text[:start] + rng.choice(INTEGERS) + text[end:]


def spliced(rng: Random, text: str, seeds: Sequence[str]) -> str:
    """The beginning of one and the end of another."""
    other = rng.choice(seeds)
    return text[: rng.randrange(len(text) + 1)] + other[rng.randrange(len(other) + 1) :]


def recased(rng: Random, text: str, tokens: Sequence[str]) -> str:
    """With a part in the other case."""
    start, end = _span(rng, text)
    return text[:start] + text[start:end].swapcase() + text[end:]


def nested(rng: Random, text: str, tokens: Sequence[str]) -> str:
    """Deep in brackets, closed or not."""
    depth = DEEPEST if rng.randrange(DEEP_ONCE_IN) == 0 else rng.choice(DEPTHS)
    opening, closing = rng.choice(NESTING)
    start, end = _span(rng, text, 16)
    return text[:start] + opening * depth + text[start:end] + closing * (depth * rng.randrange(2)) + text[end:]


def repeated(rng: Random, text: str, tokens: Sequence[str]) -> str:
    """Very long."""
    start, end = _span(rng, text)
    times = rng.choice((100, 1000, 5000)) if end - start < 8 else rng.choice((10, 100))
    return text[:start] + (text[start:end] or "a") * times + text[end:]


def _spliced_with_itself(rng: Random, text: str, tokens: Sequence[str]) -> str:
    return spliced(rng, text, (text,))


_OFTEN: tuple[Mutation, ...] = (
    flipped,
    cut,
    broken_off,
    doubled,
    moved,
    with_token,
    with_token,
    with_character,
    with_character,
    with_integer,
    recased,
    _spliced_with_itself,
    spliced,
)
_SELDOM: tuple[Mutation, ...] = (nested, repeated)
