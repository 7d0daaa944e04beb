"""Which transactions wrote a row: xmin, compared with 64-bit transaction ids."""

from __future__ import annotations

from collections.abc import Iterable

from psycopg import sql

EPOCH = 2**32


def xmin_of(xid: int) -> int:
    """A 64-bit transaction id as rows carry it: without the epoch."""
    return xid % EPOCH


def written_by(xids: Iterable[int], *, row: str | None = None) -> sql.Composable:
    """Whether one of the transactions wrote the row (of that alias) last."""
    xmin = sql.Identifier("xmin") if row is None else sql.Identifier(row, "xmin")
    # xid has equality and nothing else, so no index and no hash: a plain list is compared one by one.
    ids = [str(xmin_of(xid)) for xid in xids]
    if len(ids) == 1:
        return sql.SQL("{} = {}::xid").format(xmin, sql.Literal(ids[0]))
    return sql.SQL("{} = any({}::xid[])").format(xmin, sql.Literal(ids))
