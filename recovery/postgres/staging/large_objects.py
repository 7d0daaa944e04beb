"""Large objects that rows point to: no table's dump holds them, and a deleted row often took its own along.

An object is brought back under its number with its content, owner and grants. One that is there is never touched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator

import psycopg
from psycopg import sql

from recovery.errors import ROLLED_BACK, ErrorId, RowbackError
from recovery.model.catalog import Table
from recovery.postgres.connect import Session, one
from recovery.postgres.trusted_sql import trusted_sql

CHUNK_BYTES = 2**20
_GRANTS = {"SELECT": "select", "UPDATE": "update"}


def pointing_columns(table: Table) -> list[str]:
    """Columns that may hold numbers of large objects: oid, and domains over it such as lo."""
    return [column.name for column in table.columns if column.base_type == "oid"]


def present(session: Session, numbers: Collection[int]) -> set[int]:
    """Those of `numbers` that name a large object."""
    rows = session.execute(
        "select oid::bigint from pg_largeobject_metadata where oid = any(%s::bigint[]::oid[])", (list(numbers),)
    )
    return {row[0] for row in rows}


def pointed_to(session: Session, table: Table, columns: Iterable[str]) -> Iterator[int]:
    """Every large object that a row of the table points to."""
    for column in columns:
        name = sql.Identifier(column)
        yield from (
            row[0]
            for row in session.execute(
                sql.SQL(
                    "select distinct {0}::oid::bigint from only {1} where {0}::oid in"
                    " (select oid from pg_largeobject_metadata)"
                ).format(name, sql.Identifier(*table.name.key))
            )
        )


def bring(copy: Session, original: Session, number: int) -> bool:
    """Create the object on `original` as it is on `copy`, and compare the contents.

    Inside `original`'s open transaction. False when one of that number was made meanwhile: that stays as it is. Raises
    privilege-missing when the role may not read it, or may not give it to its owner.
    """
    try:
        with original.transaction():
            original.execute("select lo_create(%s::bigint::oid)", (number,))
            wrote = hashlib.sha256()
            for offset, chunk in _chunks(copy, number):
                original.execute("select lo_put(%s::bigint::oid, %s, %s)", (number, offset, chunk))
                wrote.update(chunk)
            hashed = hashlib.sha256()
            for _, chunk in _chunks(original, number):
                hashed.update(chunk)
            _give(copy, original, number)
    except psycopg.errors.UniqueViolation:
        return False
    except psycopg.errors.InsufficientPrivilege as error:
        owner = one(
            copy, "select lomowner::regrole::text from pg_largeobject_metadata where oid = %s::bigint::oid", (number,)
        )
        raise RowbackError(
            ErrorId.PRIVILEGE_MISSING,
            f"large object {number} of '{owner}' cannot be brought back by '{original.info.user}'",
            str(error).strip(),
            state=ROLLED_BACK,
            help=f"grant {owner} to {original.info.user}",
        ) from error
    if wrote.digest() != hashed.digest():
        raise RowbackError(
            ErrorId.VERIFY_DIFFERS,
            f"large object {number} did not arrive as it was at T",
            state=ROLLED_BACK,
            help="report this as a bug",
        )
    return True


def same_content(copy: Session, original: Session, number: int) -> bool:
    """Whether an object that both have holds the same bytes."""
    return all(a == b for (_, a), (_, b) in zip(_padded(copy, number), _padded(original, number), strict=False))


def _padded(session: Session, number: int) -> Iterator[tuple[int, bytes]]:
    yield from _chunks(session, number)
    yield -1, b"the end"


def _chunks(session: Session, number: int) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while chunk := one(session, "select lo_get(%s::bigint::oid, %s, %s)", (number, offset, CHUNK_BYTES)):
        yield offset, chunk
        offset += len(chunk)


def _give(copy: Session, original: Session, number: int) -> None:
    """The owner and the grants it had at T."""
    object_ = sql.SQL("large object {}").format(sql.Literal(number))
    owner = one(
        copy, "select lomowner::regrole::text from pg_largeobject_metadata where oid = %s::bigint::oid", (number,)
    )
    grants = copy.execute(
        "select a.privilege_type, case a.grantee when 0 then 'public' else a.grantee::regrole::text end"
        " from pg_largeobject_metadata m, aclexplode(m.lomacl) a"
        " where m.oid = %s::bigint::oid and a.grantee <> m.lomowner",
        (number,),
    ).fetchall()
    for privilege, grantee in grants:
        original.execute(
            sql.SQL("grant {} on {} to {}").format(trusted_sql(_GRANTS[privilege]), object_, trusted_sql(grantee))
        )
    if owner != one(original, "select current_user::regrole::text"):
        original.execute(sql.SQL("alter {} owner to {}").format(object_, trusted_sql(owner)))
