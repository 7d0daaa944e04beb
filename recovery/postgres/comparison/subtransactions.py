"""What rows tell of the transactions that wrote them: command numbers, commit times, ids in between.

Rows written behind a savepoint, or in an EXCEPTION block of PL/pgSQL, carry an id of their own, later than that of
their
transaction. Command numbers go on counting through it, so where a transaction's rows have none of number 0, it may be
such
a part of another; a whole transaction's first write has number 0. Commit times are the same to the microsecond, where
track_commit_timestamp is on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime

from psycopg import sql

from recovery.model.values import TableName
from recovery.postgres.comparison.row_lineage import newest, next_xid
from recovery.postgres.connect import Session, one
from recovery.postgres.row_versions import written_by

LONGEST_GAP = 10_000


def first_commands(original: Session, tables: Collection[TableName], xids: Sequence[int]) -> dict[int, int]:
    """Xmin → the smallest command number of the rows it wrote last, over all `tables`."""
    command_by_xid: dict[int, int] = {}
    for table in tables:
        rows = original.execute(
            sql.SQL("select xmin::text::bigint, min(cmin::text::bigint) from only {} where {} group by 1").format(
                sql.Identifier(*table.key), written_by(xids)
            )
        )
        for xid, command in rows:
            command_by_xid[xid] = min(command, command_by_xid.get(xid, command))
    return command_by_xid


def commit_times(original: Session, xids: Sequence[int]) -> Mapping[int, datetime]:
    """When each committed; empty where the server does not keep that."""
    if one(original, "show track_commit_timestamp") != "on":
        return {}
    rows = original.execute(
        "select x, pg_xact_commit_timestamp(x::text::xid) from unnest(%s::bigint[]) x", (list(xids),)
    ).fetchall()
    return {xid: when for xid, when in rows if when is not None}


def committed_between(original: Session, after: int, before: int) -> Iterator[int]:
    """Ids between two that committed: of other sessions, or of parts of the same transaction.

    A gap that is too long to look at counts as one id that did.
    """
    upcoming = next_xid(original)
    low, high = newest(after, upcoming), newest(before, upcoming)
    if high - low > LONGEST_GAP:
        yield after + 1
        return
    rows = original.execute(
        "select x %% 4294967296 from generate_series(%s::bigint + 1, %s::bigint - 1) x"
        " where pg_xact_status(x::text::xid8) = 'committed'",
        (low, high),
    )
    yield from (row[0] for row in rows)
