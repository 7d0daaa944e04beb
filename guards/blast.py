"""What a statement would have hit: the tables it names and all that hang on them, with the planner's row counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from guards.statements import Finding

SHOWN = 6
RADIUS_QUERY = """
with recursive hit(oid) as (
  select c.oid from unnest(%s::text[]) named, to_regclass(named) c where c is not null
  union select k.conrelid from pg_constraint k join hit on k.confrelid = hit.oid where k.contype = 'f' and %s
)
select c.oid::regclass::text, greatest(c.reltuples, 0)::bigint from hit join pg_class c using (oid)
where c.relkind in ('r', 'p') order by 2 desc, 1
"""


class Session(Protocol):
    """As much of a connection as is asked."""

    def execute(self, query: Any, params: Sequence[Any] | None = None, /) -> Any: ...


def radius(session: Session, findings: Sequence[Finding]) -> str | None:
    """One line, or None when no table of these names is known. `reltuples` is an estimate and says so."""
    names = list(dict.fromkeys(_quoted(name) for finding in findings for name in finding.objects))
    hit = session.execute(RADIUS_QUERY, (names, any(finding.cascade for finding in findings))).fetchall()
    if not hit:
        return None
    rows = sum(count for _, count in hit)
    shown = ", ".join(name for name, _ in hit[:SHOWN]) + (f" and {len(hit) - SHOWN} more" if len(hit) > SHOWN else "")
    return f"it would have hit {len(hit)} table{'s' * (len(hit) > 1)}, about {rows:,} rows: {shown}"


def _quoted(name: str) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in name.split("."))
