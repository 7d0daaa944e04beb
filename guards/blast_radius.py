"""What a statement would have hit.

The tables it names, those of the schemas or the database that it names, and all that hang on them, with the planner's
row counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from guards.statements import Finding

SHOWN = 6
RADIUS_QUERY = """
with recursive hit(oid) as (
  select c.oid from pg_class c where c.oid in (
    select to_regclass(named) from unnest(%(tables)s::text[]) named
    union select t.oid from pg_class t join pg_namespace n on n.oid = t.relnamespace
    where n.nspname = any(%(schemas)s::text[]) or current_database() = any(%(databases)s::text[])
    and n.nspname not like 'pg\\_%%' and n.nspname <> 'information_schema')
  union
  -- along foreign keys, to partitions and to what inherits: CASCADE, and TRUNCATE and DELETE without ONLY
  select found.oid from hit join (
    select k.confrelid as of_oid, k.conrelid as oid from pg_constraint k where k.contype = 'f' and %(cascade)s
    union all select i.inhparent, i.inhrelid from pg_inherits i) found on found.of_oid = hit.oid
)
select c.oid::regclass::text, case
  when c.relkind = 'p' then 0  -- its leaves are here, too
  when c.reltuples < 0 then pg_stat_get_live_tuples(c.oid)  -- never analyzed
  else c.reltuples end::bigint
from hit join pg_class c using (oid)
where c.relkind in ('r', 'p', 'm') order by 2 desc, 1
"""


class Querier(Protocol):
    """As much of a connection as is asked."""

    def execute(self, query: Any, params: Any = None, /) -> Any:
        """Run one query; what it returns has fetchall()."""


def radius(session: Querier, findings: Sequence[Finding]) -> str | None:
    """One line, or None when nothing of these names is known there. `reltuples` is an estimate and says so."""
    tables = session.execute(RADIUS_QUERY, _named(findings)).fetchall()
    if not tables:
        return None
    rows = sum(count for _, count in tables)
    shown = ", ".join(name for name, _ in tables[:SHOWN]) + (
        f" and {len(tables) - SHOWN} more" if len(tables) > SHOWN else ""
    )
    return f"it would have hit {len(tables)} table{'s' * (len(tables) > 1)}, about {rows:,} rows: {shown}"


def _named(findings: Sequence[Finding]) -> dict[str, Any]:
    """The query's parameters: what is named, by the kind of thing that it is."""
    by_kind: dict[str, list[str]] = {"tables": [], "schemas": [], "databases": []}
    for finding in findings:
        kind = {"DROP SCHEMA": "schemas", "DROP DATABASE": "databases"}.get(finding.verb, "tables")
        by_kind[kind] += finding.objects
    return {**by_kind, "cascade": any(f.cascade or f.verb in ("DROP SCHEMA", "DROP DATABASE") for f in findings)}


ABROAD_QUERY = """
with recursive hit(oid) as (
  select c.oid from pg_class c where c.oid in (
    select to_regclass(named) from unnest(%(tables)s::text[]) named
    union select t.oid from pg_class t join pg_namespace n on n.oid = t.relnamespace where n.nspname = any(%(schemas)s))
  union
  -- along foreign keys, to partitions, and through views
  select found.oid from hit join (
    select k.confrelid as of_oid, k.conrelid as oid from pg_constraint k where k.contype = 'f'
    union all select i.inhparent, i.inhrelid from pg_inherits i
    union all select r.ev_class, d.refobjid from pg_rewrite r join pg_depend d on d.objid = r.oid
      and d.classid = 'pg_rewrite'::regclass and d.refclassid = 'pg_class'::regclass) found on found.of_oid = hit.oid
)
select f.ftrelid::regclass::text, s.srvoptions from hit join pg_foreign_table f on f.ftrelid = hit.oid
join pg_foreign_server s on s.oid = f.ftserver join pg_foreign_data_wrapper w on w.oid = s.srvfdw
where w.fdwname = 'postgres_fdw'
"""


def foreign_tables(session: Querier, findings: Sequence[Finding]) -> list[tuple[str, Sequence[str]]]:
    """The tables of other servers that statements may write to, with how those are reached."""
    named = {key: value for key, value in _named(findings).items() if key in ("tables", "schemas")}
    return [(name, options or ()) for name, options in session.execute(ABROAD_QUERY, named).fetchall()]
