"""What rowback leaves in a database: a schema of before-images for each case that wrote, one of tables beside."""

from __future__ import annotations

from dataclasses import dataclass

from recovery.model.values import named_table
from recovery.postgres.connect import Session, one
from recovery.postgres.plain_indexes import kept_statements
from recovery.postgres.swap.hidden_tables import drop_schema_with_tables

# Their names are made of the case's id: 20261128-143000-7f3a → …_20261128_143000_7f3a; hidden tables: …_swap.
_LEFT = """
select n.nspname, substr(n.nspname, length(m.prefix) + 1, 20), m.prefix = 'recovered_', count(c.oid),
  coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint, pg_has_role(n.nspowner, 'USAGE'),
  m.prefix = 'rowback_case_'
from pg_namespace n join (values ('rowback_case_'), ('recovered_')) m (prefix) on starts_with(n.nspname, m.prefix)
left join pg_class c on c.relnamespace = n.oid and c.relkind = 'r'
where n.nspname ~ '_[0-9]{8}_[0-9]{6}_[0-9a-f]{4}(_swap)?$' group by n.oid, m.prefix, 1, 2, 6 order by 2, 1
"""


@dataclass(frozen=True)
class LeftSchema:
    """A schema that rowback created and that is still there.

    `beside`: it holds tables that were loaded beside; otherwise before-images. `owned`: the current role may drop it.
    `statements`: its comment is those that build indexes which a load dropped and that are not there.
    """

    name: str
    case: str
    beside: bool
    tables: int
    bytes: int
    owned: bool
    statements: bool


def left_schemas(session: Session) -> list[LeftSchema]:
    """Every schema of a case in this database, oldest case first."""
    return [
        LeftSchema(name, case.replace("_", "-"), beside, tables, size, owned, images and _builds_indexes(session, name))
        for name, case, beside, tables, size, owned, images in session.execute(_LEFT).fetchall()
    ]


def _builds_indexes(session: Session, schema: str) -> bool:
    """Whether an index of which the schema keeps the statements is not there."""
    names = [named_table(text) for text in kept_statements(session, schema)]  # what is no name is no index's either
    missing = (
        "select exists (select from unnest(%s::text[], %s::text[]) w (schema_name, name) where not exists"
        " (select from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        "  where n.nspname = w.schema_name and c.relname = w.name))"
    )
    return bool(one(session, missing, ([name.schema_name for name in names], [name.name for name in names])))


def drop_schema(session: Session, schema: LeftSchema) -> None:
    """Drop one of them with its tables, and nothing that depends on them: a view of a user's stands in the way."""
    with session.transaction():
        drop_schema_with_tables(session, schema.name)
