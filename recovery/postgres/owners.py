"""Roles that own what is made anew: whether they are there, and membership in them for as long as it takes."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from recovery.errors import ErrorId, RowbackError
from recovery.postgres.connect import Session, one

MAY_SET_ROLE_SINCE = 160000
DATABASE_OWNER = "pg_database_owner"


def missing_roles(session: Session, names: Collection[str]) -> list[str]:
    """Those of `names` that no role has."""
    rows = session.execute(
        "select name from unnest(%s::text[]) as name where name not in (select rolname from pg_roles) order by 1",
        (list(names),),
    )
    return [row[0] for row in rows]


@contextmanager
def member_of(session: Session, owners: Collection[str], *, state: str) -> Iterator[None]:
    """Inside, in the open transaction, this role may give things to `owners`, by membership that it grants itself.

    It is taken back at the end, so that the transaction changes no membership. Raises privilege-missing.
    """
    granted = [owner for owner in sorted(owners) if not _may_give_to(session, owner)]
    for owner in granted:
        try:
            with session.transaction():
                session.execute(sql.SQL("grant {} to current_user").format(sql.Identifier(owner)))
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.InternalError_) as error:
            raise _may_not(session, owner, state) from error
    yield
    for owner in granted:
        session.execute(sql.SQL("revoke {} from current_user").format(sql.Identifier(owner)))


def _may_give_to(session: Session, owner: str) -> bool:
    privilege = "SET" if session.info.server_version >= MAY_SET_ROLE_SINCE else "MEMBER"
    may = bool(one(session, "select pg_has_role(current_user, %s, %s)", (owner, privilege)))
    if may or owner != DATABASE_OWNER or not _owns_database(session):
        return may
    _recall_memberships(session)
    return bool(one(session, "select pg_has_role(current_user, %s, %s)", (owner, privilege)))


def _owns_database(session: Session) -> bool:
    return bool(one(session, "select pg_has_role(datdba, 'USAGE') from pg_database where datname = current_database()"))


def _recall_memberships(session: Session) -> None:
    """Have the server forget of which roles this one is a member.

    Until 15 it may have found that out at login, before it knew the database, and then takes its owner for no member of
    pg_database_owner. A change of pg_database's row ends that; this one changes no value.
    """
    limit = one(session, "select datconnlimit from pg_database where datname = current_database()")
    session.execute(
        sql.SQL("alter database {} connection limit {}").format(sql.Identifier(session.info.dbname), sql.Literal(limit))
    )


def _may_not(session: Session, owner: str, state: str) -> RowbackError:
    user = session.info.user
    way = f'as a role that may: grant "{owner}" to "{user}"'
    if owner == DATABASE_OWNER:  # which has no members but the owner of the database
        way = f'as the owner of the database: alter database "{session.info.dbname}" owner to "{user}"'
    return RowbackError(
        ErrorId.PRIVILEGE_MISSING,
        f"'{user}' may not make things that belong to role '{owner}', and may not make itself a member of it",
        state=state,
        help=way,
    )
