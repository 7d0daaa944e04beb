"""Which statements are remembered: destructive ones, those that cannot be classified, and writes of many rows."""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache

from guards.statements import Classified, Danger, classify
from recovery.incident.statement_sighting import Sighting
from recovery.model.values import name_parts

MOST = 20_000  # of one log and danger; more than that is no incident but a habit, and is told
# A write that says which row it means: WHERE key = value, perhaps with more conditions behind. The key is `id`, or one
# named for its table: tenant_id reaches all of a tenant. Comments, OR, USING, a second FROM and parentheses behind
# WHERE may make anything of it.
_VALUE = r"(?:\$\d{1,5}|-?\d{1,40}|'[^'\\]*+')(?:::\w{1,63})?"
BY_KEY = (
    r"(?![^;]*?(?:--|/\*|;\s*\S|\bor\b|\busing\b))(?:delete\s+from|update(?![^;]*?\bfrom\b))\s+(?:only\s+)?"
    r"(?:\"?\w{1,63}\"?\.)?\"?(?P<table>\w{1,60}?)(?:es|s)?\"?\s[^;]*?\bwhere\s+(?:\"?\w{1,63}\"?\.)?"
    rf"\"?(?:(?P=table)_?)?id\"?\s*=\s*{_VALUE}\s*(?:(?:and|returning)\b[^;()]*)?;?\s*$"
)
_BY_KEY = re.compile(rf"\s*{BY_KEY}", re.IGNORECASE)
_LONGEST_PLAIN = 4096
_WRITES = re.compile(
    r"(?:\s|--[^\n]*+\n|/\*(?:[^*]|\*(?!/))*+\*/)*+(?:(?:update|delete|merge)\b"
    r"|insert\b(?:(?!\bvalues\b)[^;])*?\bon\s+conflict\b[^;]*?\bdo\s+update\b)",  # over what a query says, any rows
    re.IGNORECASE | re.DOTALL,
)


class Keeper:
    """`keeper(sighting)`: whether to remember it. `table`: what the user asked for; then every write to it counts."""

    def __init__(self, table: str | None = None) -> None:
        # as it stands in a statement: a quote inside a quoted name is doubled there
        self.table = name_parts(table)[-1].replace('"', '""').lower() if table else None
        self.kept: Counter[Danger] = Counter()
        self.dropped = 0

    def __call__(self, sighting: Sighting) -> bool:
        """Asked for each statement of a transaction when it ends; most of them are forgotten here."""
        if not self._matters(sighting.text):
            return False
        danger = danger_of(sighting.text).danger
        if self.kept[danger] >= MOST:  # each kind for itself: many small ones shall not push out the one that counts
            self.dropped += 1
            return False
        self.kept[danger] += 1
        return True

    def _matters(self, text: str) -> bool:
        if self.table and self.table in text.lower() and _WRITES.match(text):
            return True
        if says_which(text):
            return False
        classified = danger_of(text)
        return classified.danger > Danger.WRITE or (classified.danger is Danger.WRITE and bool(_WRITES.match(text)))


def says_which(text: str) -> bool:
    """Whether a write names its rows by their key."""
    return len(text) <= _LONGEST_PLAIN and bool(_BY_KEY.match(text))


@lru_cache(maxsize=4096)
def danger_of(text: str) -> Classified:
    """What a statement would do. One that is cut off counts by its beginning."""
    return classify(text)
