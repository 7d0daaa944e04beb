"""Which live rows were written after T, by transaction ids alone: a point-in-time copy shares them with the original.

A row was there at T when the copy says that the transaction in its xmin committed. Ids from the copy's promotion on are
ambiguous, because the copy went on counting from there for itself: such rows count as written after T. So does any row
whose transaction the copy does not know. Errors are only ever false suspicions, and suspects are compared by content
(sources: ROWS-lineage).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from psycopg import sql

from recovery.postgres.comparison.key_buckets import Buckets, extremes, widest
from recovery.postgres.comparison.table_scan import Extent, Side, Values, lines, stream
from recovery.postgres.connect import Session, one
from recovery.postgres.copy_line import unescaped

BURNED_AT_MOST = 50_000
EPOCH = 2**32
FIRST_NORMAL_XID = 3
CHUNK = 20_000


@dataclass(frozen=True)
class Lineage:
    """Transaction ids (64 bit) below `boundary` that the copy calls committed were committed by T."""

    copy: Session
    boundary: int
    original_next: int

    def full(self, xmin: int) -> int:
        """The 64-bit id of an xmin."""
        return newest(xmin, self.original_next)

    def committed_after_target(self, original: Session, xmin: int) -> bool:
        """Whether transaction `xmin` committed on the original, and not by T."""
        return bool(self.after_target([xmin])) and committed(original, xmin)

    def undecided(self, xmins: Sequence[int]) -> list[int]:
        """Those of `xmins` that the copy calls committed, but may have used for a transaction of its own."""
        late = {str(full): xmin for xmin in xmins if (full := self.full(xmin)) >= self.boundary}
        rows = self.copy.execute(
            "select x from unnest(%s::text[]) x where case when x::xid8 < pg_snapshot_xmax(pg_current_snapshot())"
            " then pg_xact_status(x::xid8) = 'committed' end order by x",
            ([*late],),
        )
        return [late[xid] for (xid,) in rows]

    def after_target(self, xmins: Sequence[int]) -> set[int]:
        """Those of `xmins` that did not commit by T, or of which that is not certain."""
        by_full_xid = {self.full(xmin): xmin for xmin in xmins if xmin >= FIRST_NORMAL_XID}
        decidable = [str(xid) for xid in by_full_xid if 0 < xid < self.boundary]
        committed = self.copy.execute(
            "select x::text::bigint from unnest(%s::text[]::xid8[]) x"
            " where coalesce(pg_xact_status(x), 'committed') = 'committed'",
            (decidable,),
        )
        return set(by_full_xid.values()) - {by_full_xid[row[0]] for row in committed}


def newest(xmin: int, before: int) -> int:
    """The newest 64-bit id below `before` that rows carry as `xmin`."""
    candidate = before - before % EPOCH + xmin
    return candidate if candidate < before else candidate - EPOCH


def next_xid(session: Session) -> int:
    """The first id that no transaction of this server has had."""
    return int(one(session, "select pg_snapshot_xmax(pg_current_snapshot())::text"))


def committed(original: Session, xmin: int) -> bool:
    """Whether the server knows transaction `xmin` as committed."""
    full = newest(xmin, next_xid(original))
    if full < FIRST_NORMAL_XID:
        return False
    return bool(one(original, "select pg_xact_status(%s::text::xid8)", (str(full),)) == "committed")


def own_boundary(copy: Session) -> int:
    """The first transaction id that the copy may have used for itself.

    Recovery ends with a checkpoint of a new timeline, whose next id is exact. When a later checkpoint has replaced it
    in the control file, a margin stands in that no idle copy uses up.
    """
    row = copy.execute("select next_xid, timeline_id <> prev_timeline_id from pg_control_checkpoint()").fetchone()
    assert row
    epoch, _, xid = row[0].partition(":")
    exact = int(epoch) * EPOCH + int(xid)
    return exact if row[1] else max(0, exact - BURNED_AT_MOST)


def lineage_of(original: Session, copy: Session, boundary: int) -> Lineage:
    """The lineage between the two; `boundary` from `own_boundary`, read as early as possible."""
    return Lineage(copy, boundary, next_xid(original))


def writers_since(original: Side, lineage: Lineage) -> dict[int, int]:
    """Xmin → rows, for every transaction that wrote rows of the scope and did not commit by T."""
    return writers_and_extent(counted_by_writer(replace(original, key=())), lineage)[0]


def counted_by_writer(original: Side) -> Iterator[Values]:
    """Rows of every xmin in scope and their extremes; the server counts from the call on."""
    return stream(
        original.session,
        sql.SQL(
            "select writer::text::bigint, rows, low, high from"
            " (select xmin as writer, count(*), {} from {} where {} group by 1) as counted (writer, rows, low, high)"
        ).format(extremes(original), original.relation, original.where),
    )


def writers_and_extent(counts: Iterator[Values], lineage: Lineage) -> tuple[dict[int, int], Extent]:
    """Out of `counted_by_writer`: the rows of transactions that did not commit by T, and the extent of all rows."""
    rows_by_xid: dict[int, int] = {}
    total: list[Values] = []
    while chunk := list(islice(counts, CHUNK)):
        since = lineage.after_target([int(xid or 0) for xid, *_ in chunk])
        rows_by_xid.update((int(xid or 0), int(rows or 0)) for xid, rows, *_ in chunk if int(xid or 0) in since)
        total = [tuple(None if part is None else str(part) for part in widest([*total, *(row[1:] for row in chunk)]))]
    return rows_by_xid, widest(total)


def keys_written_by(original: Side, xmins: Sequence[int]) -> Iterator[Values]:
    """The keys of rows in scope that one of the transactions `xmins` wrote last."""
    return stream(original.session, _of_written(original, xmins, _key_texts(original)))


def keys_and_buckets_written_by(original: Side, xmins: Sequence[int], buckets: Buckets) -> Iterator[tuple[int, str]]:
    """(bucket, key as a JSON array of texts) of the same rows."""
    columns = sql.SQL("{}, json_build_array({})::text").format(buckets.number(original), _key_texts(original))
    for line in lines(original.session, _of_written(original, xmins, columns)):
        bucket, _, key = line.partition("\t")
        yield int(bucket), unescaped(key)


def _key_texts(side: Side) -> sql.Composed:
    return sql.SQL(", ").join(field.text for field in side.key)


def _of_written(original: Side, xmins: Sequence[int], columns: sql.Composable) -> sql.Composed:
    return sql.SQL("select {} from {} where {} and xmin::text = any({})").format(
        columns, original.relation, original.where, sql.Literal([str(xid) for xid in xmins])
    )
