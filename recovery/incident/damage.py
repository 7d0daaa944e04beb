"""Which destructive statements cost rows: an index, a view or a trigger that is gone does not."""

from __future__ import annotations

from guards.statements import Danger, Finding

# Nothing that holds rows hangs on these, not even by CASCADE; on a function or a type a column may.
_ROWLESS = frozenset({"INDEX", "VIEW", "MATVIEW", "TRIGGER", "RULE", "POLICY", "EVENT TRIGGER", "PUBLICATION"})
_ROWLESS_ALONE = frozenset(
    {
        "FUNCTION",
        "PROCEDURE",
        "ROUTINE",
        "AGGREGATE",
        "SEQUENCE",
        "STATISTIC EXT",
        "OPERATOR",
        "CAST",
        "CONVERSION",
        "TYPE",
        "DOMAIN",
        "COLLATION",
        "FOREIGN SERVER",
        "FDW",
        "LANGUAGE",
    }
)
_OF_DEFINITIONS = (
    "DISABLE TRIGGER",
    "DISABLE RULE",
    "DROP CONSTRAINT",
    "DROP EXPRESSION",
    "SET UNLOGGED",
    "SET WITHOUT OIDS",
)
_OF_SESSIONS = (
    "SET",
    "RESET",
    "RESET ALL",
    "DISCARD ALL",
    "BEGIN READ WRITE",
    "SET TRANSACTION READ WRITE",
    "ALTER SYSTEM",
    "DROP ROLE",
    "DROP USER MAPPING",
)


def costs_rows(finding: Finding) -> bool:
    """Whether it may have taken rows, or what rows hold, away. Unknown things may."""
    if finding.danger not in (Danger.DESTRUCTIVE, Danger.CATASTROPHIC):
        return True
    if finding.verb.startswith("DROP "):
        kind = finding.verb.removeprefix("DROP ")
        rowless = kind in _ROWLESS or (kind in _ROWLESS_ALONE and not finding.cascade)
        return not rowless and finding.verb not in _OF_SESSIONS
    if finding.verb == "ALTER TABLE":
        return finding.cascade or not finding.why.startswith(_OF_DEFINITIONS)
    return finding.verb not in _OF_SESSIONS and not finding.verb.startswith(("ALTER ROLE", "ALTER DATABASE"))
