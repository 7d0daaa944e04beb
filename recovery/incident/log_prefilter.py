"""What of a log need not be decoded: most of it. Asked for every record, so everything here is cheap."""

from __future__ import annotations

import re
from enum import Enum, auto
from functools import lru_cache

from guards.statements import Danger, classify
from recovery.incident.session_tracking import Sessions
from recovery.incident.statement_retention import BY_KEY

_STATEMENT = rb"(?:duration: [\d.]{1,20} ms  )?(?:statement|execute [^:]*): \s*"
# By the word that they begin with these destroy nothing and end no transaction, unless `_destroys` finds another.
_PLAIN = re.compile(
    _STATEMENT + rb"(?:(?P<select>select)|insert|show|fetch|close|declare|listen|values|vacuum|analyze|create index)\b",
    re.IGNORECASE,
)
# A write that says which row it means, as `keeping` tells it; a long one is decoded rather than searched.
_BY_KEY = re.compile(_STATEMENT + BY_KEY.encode(), re.IGNORECASE)
_HEAD = re.compile(_STATEMENT, re.IGNORECASE)
_LONGEST_PLAIN, _LONGEST_SHAPE = 4096, 1024
_NUMBERS_ALIKE = bytes.maketrans(b"123456789", b"000000000")
_DIGIT_IN_NAME = re.compile(rb"[^\W\d]\d")
_ERRORS = (b"ERROR", b"FATAL", b"PANIC")
_WORDS = {"begin": (b"BEGIN", b"begin"), "end": (b"COMMIT", b"commit", b"ROLLBACK", b"rollback")}
_CONTROLS = {
    spelling + word + ending: verb
    for verb, words in _WORDS.items()
    for word in words
    for spelling in (b"statement: ", b"execute <unnamed>: ")
    for ending in (b"", b";", b"\n", b";\n")
}


class Kind(Enum):
    """What a statement is by its text alone: nothing that destroys, a write that names its row, or all else."""

    PLAIN = auto()
    BY_KEY = auto()
    MATTERS = auto()


class Interest:
    """`interest(pid, severity, message)`: whether a record can matter. All of a session that has something open does.

    BEGIN, COMMIT and ROLLBACK of sessions with nothing open are taken note of here, without a record. `table`: what the
    user asked for; writes to it matter even if they say which row they mean.
    """

    def __init__(self, sessions: Sessions, table: str | None = None) -> None:
        self._sessions, self._open = sessions, sessions.open_pids
        self._table = table.encode().lower() if table else None
        self._begun = False

    def __call__(self, pid: bytes, severity: bytes, message: bytes) -> bool:
        """Asked by a reader before it decodes."""
        if not self._begun:  # the first record of a log tells since when it goes
            self._begun = True
            return True
        if pid in self._open:
            return True
        if severity != b"LOG":
            return severity in _ERRORS
        if message[:10] == b"duration: " and (message[-4:] == b" ms\n" or message[-3:] == b" ms"):
            return False
        if verb := _CONTROLS.get(message):
            return not self._sessions.noted(pid, verb)
        return self._may_destroy(message)

    def _may_destroy(self, message: bytes) -> bool:
        kind = _kind_by_shape(message.translate(_NUMBERS_ALIKE)) if len(message) <= _LONGEST_SHAPE else None
        kind = kind or _kind(message)
        if kind is Kind.BY_KEY:
            return self._table is not None and self._table in message.lower()
        return kind is Kind.MATTERS


@lru_cache(maxsize=8192)
def _kind_by_shape(shape: bytes) -> Kind | None:
    """Of a statement whose digits are all 0: it is the same with other numbers. Not where names hold digits: None."""
    head = _HEAD.match(shape)
    return None if _DIGIT_IN_NAME.search(shape, head.end() if head else 0) else _kind(shape)


def _kind(message: bytes) -> Kind:
    if match := _PLAIN.match(message):
        if _destroys(message.lower()):
            return Kind.MATTERS
        calls = match["select"] is not None and b"(" in message
        return Kind.MATTERS if calls and not _reads(message[match.start("select") :]) else Kind.PLAIN
    return Kind.BY_KEY if len(message) <= _LONGEST_PLAIN and _BY_KEY.match(message) else Kind.MATTERS


def _destroys(low: bytes) -> bool:
    # Spelled out: a loop over seven words takes longer than the search for them.
    return (
        b"delete" in low
        or b"truncate" in low
        or b"drop" in low
        or b"update" in low
        or b"merge" in low
        or b"alter" in low
        or b";" in low
    )


@lru_cache(maxsize=8192)
def _reads(text: bytes) -> bool:
    return classify(text.decode("utf-8", "replace")).danger is Danger.READ
