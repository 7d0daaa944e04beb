"""Two readings of a database's counters → the tables that lost or changed much between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from recovery.model.counter_reading import FULL, Counted, Reading
from recovery.model.target import format_utc

MUCH = 1000  # rows, in a table of any size; in a smaller one a tenth of it
SHOWN = 10


@dataclass(frozen=True)
class Jump:
    """What became of one table since `since`. `gone`: rows deleted, or missing after its file was replaced."""

    table: str
    since: datetime
    then: Counted
    now: Counted

    @property
    def replaced(self) -> bool:
        """By TRUNCATE, or by something that rewrites the table."""
        return self.then.file != self.now.file

    @property
    def made_anew(self) -> bool:
        """By DROP and CREATE; its counters begin with it."""
        return self.then.oid != self.now.oid

    @property
    def deleted(self) -> int:
        """Rows, rolled back or not; TRUNCATE counts none."""
        return 0 if self.made_anew else self.now.deleted - self.then.deleted

    @property
    def updated(self) -> int:
        """Rows, rolled back or not."""
        return 0 if self.made_anew else self.now.updated - self.then.updated

    @property
    def gone(self) -> int:
        """Rows that went, one way or the other."""
        missing = self.then.rows_estimate - self.now.rows_estimate if self.replaced else 0
        return max(self.deleted, missing)

    @property
    def shrunk(self) -> float:
        """The share of its rows that is missing now: a queue is deleted from all day and does not shrink."""
        return max(0, self.then.rows_estimate - self.now.rows_estimate) / max(1, self.then.rows_estimate)

    def __str__(self) -> str:
        lines = [
            f"{self.table}: about {self.then.rows_estimate:,} rows at {format_utc(self.since)},"
            f" {self.now.rows_estimate:,} now",
            f"{self.deleted:,} deleted since, rolled back or not" if self.deleted else "",
            f"{self.updated:,} updated since, rolled back or not" if self.updated else "",
            "it was dropped and made anew since"
            if self.made_anew
            else "its file was replaced since, as TRUNCATE does"
            if self.replaced
            else "",
        ]
        return "; ".join(part for part in lines if part)


@dataclass(frozen=True)
class ComparedReadings:
    """Two readings. `jumps` by table, what shrank most first; `dropped`: tables that are no longer there, in words."""

    jumps: Mapping[str, Jump] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()


def compare(then: Reading, now: Reading) -> ComparedReadings:
    """What happened between them, as far as it is much."""
    return ComparedReadings(_jumps(then, now), tuple(_dropped(then, now)))


def _dropped(then: Reading, now: Reading) -> list[str]:
    """Whatever the server forgot to count, a name is there or not; but a full reading leaves some out."""
    if len(now.tables) >= FULL:
        return []
    lost = [
        (counted.rows_estimate, name)
        for name, counted in then.tables.items()
        if name not in now.tables and counted.rows_estimate
    ]
    lost.sort(key=lambda one: (-one[0], one[1]))
    at = format_utc(then.at)
    return [f"{name}: about {rows:,} rows at {at}; no table has this name now" for rows, name in lost[:SHOWN]]


def _jumps(then: Reading, now: Reading) -> Mapping[str, Jump]:
    if then.reset_at != now.reset_at:
        return {}
    both = (
        Jump(name, then.at, then.tables[name], counted)
        for name, counted in now.tables.items()
        if name in then.tables and _went_on(then.tables[name], counted)
    )
    much = [jump for jump in both if jump.gone + jump.updated >= min(MUCH, max(1, jump.then.rows_estimate / 10))]
    much.sort(key=lambda jump: (-jump.shrunk, -jump.gone, -jump.updated, jump.table))
    return {jump.table: jump for jump in much[:SHOWN]}


def _went_on(then: Counted, now: Counted) -> bool:
    """A crash makes a server forget its counters without a word about a reset (PostgreSQL documentation 27.2)."""
    if then.oid != now.oid:
        return True
    if not now.inserted:  # it has counted nothing, and the planner's number may be older than the last rewrite
        return False
    return then.inserted <= now.inserted and then.updated <= now.updated and then.deleted <= now.deleted
