"""Schemas with owner, comment and privileges, and the statements that make one anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from psycopg import sql

from recovery.model.dropped_schema import DroppedSchema, SchemaGrant
from recovery.postgres.connect import Session
from recovery.postgres.trusted_sql import trusted_sql

_SCHEMAS = """
select nspname, pg_get_userbyid(nspowner), obj_description(n.oid, 'pg_namespace'), nspacl is null,
  coalesce((select array_agg(array[case when grantee <> 0 then pg_get_userbyid(grantee) end, privilege_type,
    is_grantable::text] order by grantee, privilege_type) from aclexplode(nspacl)), '{}')
from pg_namespace n where nspname !~ '^pg_' and nspname <> 'information_schema'
"""


def read_schemas(session: Session) -> dict[str, DroppedSchema]:
    """Every schema of the database, by name."""
    return {
        name: DroppedSchema(
            name=name,
            owner=owner,
            comment=comment,
            grants=None
            if by_default
            else tuple(
                SchemaGrant(grantee=grantee, privilege=privilege, with_grant_option=grantable == "true")
                for grantee, privilege, grantable in grants
            ),
        )
        for name, owner, comment, by_default, grants in session.execute(_SCHEMAS)
    }


def _statements(schema: DroppedSchema) -> Iterator[sql.Composed]:
    """Statements that make it as it was, for its owner's members."""
    name, owner = sql.Identifier(schema.name), sql.Identifier(schema.owner)
    yield sql.SQL("create schema {} authorization {}").format(name, owner)
    if schema.comment is not None:
        yield sql.SQL("comment on schema {} is {}").format(name, sql.Literal(schema.comment))
    if schema.grants is None:
        return
    yield sql.SQL("revoke all on schema {} from {}").format(name, owner)
    for grant in schema.grants:
        yield sql.SQL("grant {} on schema {} to {}{}").format(
            trusted_sql(grant.privilege),
            name,
            sql.SQL("public") if grant.grantee is None else sql.Identifier(grant.grantee),
            sql.SQL(" with grant option" if grant.with_grant_option else ""),
        )


def make_schemas(session: Session, schemas: Iterable[DroppedSchema]) -> None:
    """Make them, in the open transaction of a role that is a member of their owners."""
    for schema in schemas:
        for statement in _statements(schema):
            session.execute(statement)


def drops_of_schemas(schemas: Iterable[DroppedSchema]) -> Iterator[sql.Composed]:
    """Statements that take them away, where nothing is in them."""
    return (sql.SQL("drop schema {}").format(sql.Identifier(schema.name)) for schema in schemas)
