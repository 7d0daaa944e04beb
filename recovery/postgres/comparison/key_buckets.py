"""Ranges of keys whose checksums are compared first, so that only differing ones are read row by row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from psycopg import sql

from recovery.postgres.comparison.table_scan import Extent, Field, Side, Values, fields_hash, stream

RANGE_TYPES = frozenset({"smallint", "integer", "bigint"})


ROWS_PER_BUCKET = 128


MOST_BUCKETS = 2**17


KEYS_PER_WORD, ROWS_PER_WORD = 64, 4  # bits of a bigint, and how many rows they must stand for on average


WIDEST_RANGE = 2**62  # beyond it the distance between two bigint keys may not be a bigint


@dataclass(frozen=True)
class Buckets:
    """How keys fall into buckets. `low` and `width`: ranges of one integer or uuid key; None: hash of the key."""

    count: int
    low: int | None = None
    width: int = 1

    @classmethod
    def over(cls, extents: Sequence[Extent]) -> Buckets:
        """Ranges or hashes that hold about ROWS_PER_BUCKET rows each, the same for both sides.

        By the first side alone unless the other has outgrown it, so that the same question is asked next time.
        """
        if all(2 * extents[0][0] >= rows for rows, _, _ in extents) and _surrounds(extents[0], extents[1:]):
            extents = extents[:1]
        rows = max(count for count, _, _ in extents)
        count = min(MOST_BUCKETS, 1 << max(0, (rows // ROWS_PER_BUCKET) - 1).bit_length())
        lows = [low for _, low, _ in extents if low is not None]
        highs = [high for _, _, high in extents if high is not None]
        if not lows or not highs or max(highs) - min(lows) >= WIDEST_RANGE:
            return cls(count)
        return cls(count, min(lows), max(1, -(-(max(highs) - min(lows) + 1) // count)))

    def number(self, side: Side) -> sql.Composable:
        """The bucket of a row."""
        if self.low is None:
            return sql.SQL("(hashtextextended(row({})::text, 0) & {})").format(
                sql.SQL(", ").join(field.text for field in side.key), sql.Literal(self.count - 1)
            )
        ordinal = _ordinal(side.key[0])
        assert ordinal is not None
        return sql.SQL("(({}::bigint - {}) / {})").format(ordinal, sql.Literal(self.low), sql.Literal(self.width))


def _surrounds(one: Extent, others: Sequence[Extent]) -> bool:
    """Whether the keys of `others` lie within, or not far beyond, those of `one`: ranges go on outside."""
    _, low, high = one
    if low is None or high is None:
        return all(other[1] is None for other in others)
    width = high - low + 1
    return all(
        other[1] is None or other[2] is None or (low <= other[1] and other[2] <= high + width) for other in others
    )


def extent(side: Side) -> Extent:
    """Rows in scope, and the smallest and largest key as a number (None when the key is not of a ranged type)."""
    return widest(counted(side))


def counted(side: Side) -> Iterator[Values]:
    """The same as `widest` takes it; the server counts from the call on."""
    return side.ask(
        side.session,
        sql.SQL("select count(*), {} from {} where {}").format(extremes(side), side.relation, side.where),
    )


def extremes(side: Side) -> sql.Composed:
    """The smallest and the largest key of some rows, as expressions for a query that groups them."""
    ranged = len(side.key) == 1 and _ordinal(side.key[0])
    return sql.SQL(", ").join(
        sql.SQL("({}({}))::bigint").format(sql.SQL(function), ranged) if ranged else sql.SQL("null::bigint")
        for function in ("min", "max")
    )


def widest(counts: Iterable[Values]) -> Extent:
    """The extent of all rows out of (rows, smallest, largest key) of their parts."""
    total, lowest, highest = 0, list[int](), list[int]()
    for rows, low, high in counts:
        total += int(rows or 0)
        if low is not None and high is not None:
            lowest, highest = [min([*lowest, int(low)])], [max([*highest, int(high)])]
    return total, next(iter(lowest), None), next(iter(highest), None)


@dataclass(frozen=True)
class KeyBits:
    """One integer key as bits: of 64 keys from `low` on, of the next 64, and so on, which of them are there."""

    low: int

    @classmethod
    def over(cls, sides: Sequence[Side], extents: Sequence[Extent]) -> KeyBits | None:
        """None where keys are no integers, or so far apart that their bits would not be shorter than themselves."""
        if any(len(side.key) != 1 or side.key[0].column.base_type not in RANGE_TYPES for side in sides):
            return None
        lows, highs = ([key for each in extents if (key := each[place]) is not None] for place in (1, 2))
        if not lows or (max(highs) - min(lows)) // KEYS_PER_WORD > max(rows for rows, _, _ in extents) // ROWS_PER_WORD:
            return None
        return cls(min(lows))

    def of(self, side: Side) -> Iterator[Values]:
        """(number, bits) of every 64 keys of which any is there, ordered by number."""
        key = _ordinal(side.key[0])
        assert key is not None
        distance = sql.SQL("({}::bigint - {})").format(key, sql.Literal(self.low))
        word = sql.SQL("bit_or(1::bigint << ({} % 64)::integer)").format(distance)
        return side.ask(side.session, _grouped(side, sql.SQL("{} / 64").format(distance), word))

    def keys(self, number: int, bits: int) -> Iterator[int]:
        """The keys that these bits stand for."""
        bits %= 1 << KEYS_PER_WORD
        while bits:
            lowest = bits & -bits
            yield self.low + number * KEYS_PER_WORD + lowest.bit_length() - 1
            bits ^= lowest


def bucket_counts(side: Side, buckets: Buckets) -> Iterator[Values]:
    """(bucket, rows) of every bucket that is not empty, ordered by bucket."""
    return side.ask(side.session, _grouped(side, buckets.number(side), sql.SQL("count(*)")))


def bucket_sums(side: Side, buckets: Buckets, *, contents: Sequence[Field]) -> Iterator[Values]:
    """(bucket, rows, checksum of `contents`) of every bucket that is not empty, ordered by bucket."""
    sums = sql.SQL("count(*), sum({})").format(fields_hash(contents, side.session))
    return side.ask(side.session, _grouped(side, buckets.number(side), sums))


def _grouped(side: Side, number: sql.Composable, aggregates: sql.Composable) -> sql.Composed:
    """(number, aggregates) of the rows in scope that have the same number, ordered by it.

    The server takes every row for a group of its own, and sorts whole rows on disk to have the groups in order. Ordered
    by what it does not know to be the group's number, it groups by hash and sorts the groups.
    """
    return sql.SQL("select * from (select {} as b, {} from {} where {} group by 1) as grouped order by b | 0").format(
        number, aggregates, side.relation, side.where
    )


def keys_in(side: Side, buckets: Buckets, wanted: Sequence[int], *, contents: Sequence[Field]) -> Iterator[Values]:
    """(bucket, lines) of the buckets `wanted`, ordered by bucket.

    A line is the checksum of `contents` (empty where they are), a blank, the row's key as a JSON array of texts; a
    message per bucket, because one per row costs more than the row.
    """
    keys = sql.SQL(", ").join(field.text for field in side.key)
    return stream(
        side.session,
        sql.SQL(
            "select {0} b, string_agg({2} || ' ' || json_build_array({1})::text, E'\\n')"
            " from {3} where {4} and {0} = any({5}::bigint[]) group by 1 order by 1"
        ).format(
            buckets.number(side),
            keys,
            fields_hash(contents, side.session) if contents else sql.SQL("''"),
            side.relation,
            side.where,
            sql.Literal(list(wanted)),
        ),
    )


def _ordinal(field: Field) -> sql.Composable | None:
    """The key as an integer, in the key's order: integers themselves, uuids by their first 60 bits."""
    if field.column.base_type in RANGE_TYPES:
        return field.value
    if field.column.base_type == "uuid":
        digits = sql.SQL("left(replace({}, '-', ''), 15)").format(field.text)
        return sql.SQL("('x' || {})::bit(60)::bigint").format(digits)
    return None
