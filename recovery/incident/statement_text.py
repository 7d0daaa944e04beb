"""The text of one message to the server: its statements, and which of them begin or end a transaction."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class TransactionControl:
    """Transaction control.

    `verb`: begin, commit, rollback, savepoint, release, rollback to, prepare, commit prepared, rollback prepared.
    `name`: of the savepoint or prepared transaction. `chains`: AND CHAIN.
    """

    verb: str
    name: str = ""
    chains: bool = False


_COMMENT = r"/\*(?:[^*]|\*(?!/))*+\*/"
_SPACE = rf"(?:\s|--[^\n]*+(?:\n|$)|{_COMMENT})"  # possessive: a log may hold any text
_WORDS = re.compile(
    rf"""{_SPACE}*+(?:
      (?P<begin>begin|start{_SPACE}+transaction)\b
    | (?P<prepared>commit|rollback){_SPACE}+prepared{_SPACE}+'(?P<gid>(?:[^']|'')*)'
    | prepare{_SPACE}+transaction{_SPACE}+'(?P<prepare>(?:[^']|'')*)'
    | (?:rollback|abort)(?:{_SPACE}+(?:work|transaction))?{_SPACE}+to(?:{_SPACE}+savepoint)?{_SPACE}+
      (?P<back>"[^"]*"|[\w$]+)
    | savepoint{_SPACE}+(?P<savepoint>"[^"]*"|[\w$]+)
    | release(?:{_SPACE}+savepoint)?{_SPACE}+(?P<release>"[^"]*"|[\w$]+)
    | (?P<commit>commit|end)\b(?!{_SPACE}*\w+{_SPACE}*\()
    | (?P<rollback>rollback|abort)\b
    )(?P<rest>.*)""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
_CHAIN = re.compile(r"\band\s+chain\b", re.IGNORECASE)
_NAMED = {"prepare": "prepare", "rollback to": "back", "savepoint": "savepoint", "release": "release"}
_MAY_BE = re.compile(rf"{_SPACE}*+(?:begin|start|commit|end|rollback|abort|savepoint|release|prepare)\b", re.IGNORECASE)


@lru_cache(maxsize=1024)
def control_of(text: str) -> TransactionControl | None:
    """What a single statement does to its transaction; None for everything else."""
    if not _MAY_BE.match(text) or (match := _WORDS.match(text)) is None:
        return None
    part = match.groupdict()
    chains = bool(_CHAIN.search(part["rest"] or "")) and not re.search(
        r"\band\s+no\s+chain\b", part["rest"], re.IGNORECASE
    )
    if part["begin"]:
        return TransactionControl("begin")
    if part["prepared"]:
        return TransactionControl(f"{part['prepared'].lower()} prepared", part["gid"])
    for verb, group in (
        ("prepare", "prepare"),
        ("rollback to", "back"),
        ("savepoint", "savepoint"),
        ("release", "release"),
    ):
        if part[group] is not None:
            return TransactionControl(verb, _name(part[group]))
    return TransactionControl("commit" if part["commit"] else "rollback", chains=chains)


_PREPARED = re.compile(rf"{_SPACE}*+prepare{_SPACE}+[^\n]*?{_SPACE}as{_SPACE}+(.*)", re.IGNORECASE | re.DOTALL)


def prepared_text(text: str) -> str:
    """What PREPARE … AS … prepares; any other text as it is."""
    match = _PREPARED.match(text)
    return match[1] if match else text


def _name(text: str) -> str:
    return text[1:-1] if text.startswith('"') else text.lower()


def pieces(text: str) -> list[str]:
    """The statements of a message. One that PostgreSQL's parser does not understand stays whole."""
    if ";" not in text.rstrip("; \n\t"):
        return [text]
    return list(_parsed(text))


@lru_cache(maxsize=1024)
def _parsed(text: str) -> tuple[str, ...]:
    from pgparse import PGQueryError, parse

    try:
        statements = parse(text)
    except PGQueryError:
        return (text,)
    raw, texts = text.encode(), []
    for statement in statements:
        start = statement.get("stmt_location", 0)
        length = statement.get("stmt_len", 0) or len(raw) - start
        texts.append(raw[start : start + length].decode("utf-8", "replace").strip())
    return tuple(texts) or (text,)
