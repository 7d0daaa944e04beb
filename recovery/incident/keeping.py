"""Which statements are worth remembering: those that destroy, those nobody can tell, and writes that reach far."""

from __future__ import annotations

import re
from functools import lru_cache

from guards.statements import Classified, Danger, classify
from recovery.incident.sightings import Sighting

MOST = 20_000  # of one log; more than that is no incident but a habit, and is told
# A write that says which row it means: WHERE key = value, perhaps with more conditions behind.
_VALUE = r"(?:\$\d+|-?\d+|'[^']*')(?:::\w+)?"
_BY_KEY = re.compile(
    rf"\bwhere\s+(?:\w+\.)?\"?\w*id\"?\s*(?:=\s*{_VALUE}|in\s*\({_VALUE}(?:\s*,\s*{_VALUE})*\))\s*(?:and\b.*|returning\b.*)?;?\s*$",
    re.IGNORECASE | re.DOTALL,
)
_WRITES = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/)*(?:update|delete|merge)\b", re.IGNORECASE | re.DOTALL)


class Keeper:
    """`keeper(sighting)`: whether to remember it. `table`: what the user asked for; then every write to it counts."""

    def __init__(self, table: str | None = None) -> None:
        self.table = table.rpartition(".")[2].strip('"').lower() if table else None
        self.kept = 0
        self.dropped = 0

    def __call__(self, sighting: Sighting) -> bool:
        """A transaction's end is told once for each of its statements; this is where most of them are forgotten."""
        if not self._matters(sighting.text):
            return False
        if self.kept >= MOST:
            self.dropped += 1
            return False
        self.kept += 1
        return True

    def _matters(self, text: str) -> bool:
        if self.table and self.table in text.lower() and _WRITES.match(text):
            return True
        if says_which(text):
            return False
        found = danger_of(text)
        return found.danger > Danger.WRITE or (found.danger is Danger.WRITE and bool(_WRITES.match(text)))


def says_which(text: str) -> bool:
    """Whether a write names its rows by their key."""
    return bool(_WRITES.match(text) and _BY_KEY.search(text))


@lru_cache(maxsize=4096)
def danger_of(text: str) -> Classified:
    """What a statement would do. One that is cut off counts by its beginning."""
    return classify(text)
