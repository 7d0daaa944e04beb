"""Temporary tables of a session, as far as its log tells: what happens to them is no damage."""

from __future__ import annotations

import re

from guards.statements import Finding
from guards.statements.parse_tree import dotted
from recovery.incident.statement_retention import danger_of

# IF NOT EXISTS and ON COMMIT may leave the name to a real table; such a one is not taken for temporary.
_MADE = re.compile(
    r"\s*create\s+(?:global\s+|local\s+)?temp(?:orary)?\s+table\s+(?:pg_temp\.)?(\"[^\"]+\"|[\w$]+)\s*[(a]"
    r"(?!.*\bon\s+commit\b)",
    re.IGNORECASE | re.DOTALL,
)
# After these a name may stand for a real table again.
_DOUBTFUL = re.compile(r"\b(?:drop|rename|discard|search_path|reset|set\s+schema)\b", re.IGNORECASE)
_WITHIN = frozenset({"TRUNCATE", "DELETE", "UPDATE", "MERGE", "INSERT", "DROP TABLE", "ALTER TABLE"})


class Scratch:
    """The names of one session's temporary tables."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def forget(self) -> None:
        """Forget all names: a rollback may have undone their creation, or another session began under this id."""
        self._names.clear()

    def takes(self, text: str) -> bool:
        """Whether a statement touches nothing but them. Takes note of those that it makes or drops."""
        if made := _MADE.match(text):
            self._names.add(_as_named(made[1]))
            return False
        if not self._names:
            return False
        findings = danger_of(text).findings
        within = bool(findings) and all(map(self._within, findings))
        if _DOUBTFUL.search(text):
            self.forget()
        return within

    def _within(self, finding: Finding) -> bool:
        named = bool(finding.objects) and self._names.issuperset(finding.objects)
        return named and finding.verb in _WITHIN and not finding.cascade


def _as_named(name: str) -> str:
    return dotted([name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()])
