"""Tables by the names that people and statements give them: with or without schema, quoted or not."""

from __future__ import annotations

from dataclasses import dataclass

from recovery.model.values import TableName, name_parts
from recovery.postgres.connect import Session

# The catalog itself, not to_regclass: that one needs USAGE on the schema, and knows one search_path.
RELATIONS_NAMED = """
select c.oid::bigint, n.nspname, c.relname, c.relkind::text
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'f') and c.relname = %(name)s
  and n.nspname !~ '^pg_(catalog|toast|temp)' and n.nspname <> 'information_schema'
  and (%(schema)s::text is null or n.nspname = %(schema)s)
order by n.nspname <> 'public', n.nspname
"""
KINDS = {"p": "a partitioned table", "v": "a view", "m": "a materialized view", "f": "a foreign table"}


@dataclass(frozen=True)
class Relation:
    """One relation of a database. `kind`: pg_class.relkind."""

    oid: int
    name: TableName
    kind: str


def relations_named(session: Session, text: str) -> list[Relation]:
    """Every permanent relation that `text` may mean; without a schema there may be several.

    The name is looked up as it is written; then in lower case, as SQL folds it; then as one name that contains dots.
    """
    parts = name_parts(text)[-2:]
    for spelt in (parts, tuple(part.lower() for part in parts), (text,)):
        schema = spelt[0] if len(spelt) > 1 else None
        rows = session.execute(RELATIONS_NAMED, {"name": spelt[-1], "schema": schema}).fetchall()
        if rows:
            return [Relation(oid, TableName(schema_name=nsp, name=name), kind) for oid, nsp, name, kind in rows]
    return []
