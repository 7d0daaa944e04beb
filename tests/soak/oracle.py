"""What must hold of the rows, told from snapshots and the writers' ledger alone.

An act of rowback lies between two snapshots. Of each row the ledger says what others made of it meanwhile; whatever
differs from that was done by rowback, and must be exactly what the act is for, on a row that the act may touch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tests.soak.product import AccountLine, printed
from tests.soak.world import Row, Snapshot, Table, World
from tests.soak.writers import Event

SHOWN = 3


@dataclass(frozen=True)
class Past:
    """The world at T, just before and just after the incident."""

    at_target: Snapshot
    before: Snapshot
    after: Snapshot

    def hit(self, table: int) -> set[int]:
        """Rows that the incident changed or deleted."""
        before, after = self.before.keyed[table], self.after.keyed[table]
        return {n for n, row in before.items() if after.get(n) != row}


@dataclass
class Span:
    """One act of an operator.

    `kind`: compare, load, undo or redo. `compared`: a comparison may have been made in it. `wrote`: a transaction of it
    is known to be committed. `ended`: it ended as it was meant to; `partial`: an undo that leaves rows behind.
    `ledger`: everything that others wrote from T to the end of the act; `since`: what they wrote from the beginning of
    the write that is taken back up to this act. `compared_from`, `since_comparison`: what the comparison may have seen
    first, and what others wrote since. `written_from`, `written_to`: what the write that is taken back led from and to.
    """

    kind: str
    mode: str
    before: Snapshot
    after: Snapshot
    events: Sequence[Event]
    digests: Sequence[str]
    compared: bool
    wrote: bool
    ended: bool
    partial: bool = False
    paced: bool = False
    since: Sequence[Event] = ()
    ledger: Sequence[Event] = ()
    compared_from: Snapshot | None = None
    since_comparison: Sequence[Event] = ()
    written_from: Snapshot | None = None
    written_to: Snapshot | None = None
    account: tuple[AccountLine, ...] = ()


@dataclass
class Judge:
    """Collects what is broken."""

    world: World
    past: Past
    broken: list[str] = field(default_factory=list)

    def judge(self, span: Span) -> None:
        """Every invariant of one act."""
        for table in self.world.tables:
            if table.key:
                self._keyed(span, table)
            else:
                self._loose(span, table)
        self._whole(span)
        if span.kind == "load" and span.ended:
            self._complete(span)
        if span.kind in ("undo", "redo") and span.ended and not span.partial:
            self._led_back(span)

    def say(self, span: Span, table: Table, what: str, rows: Sequence[object]) -> None:
        """Note one broken invariant with the first rows of it."""
        shown = "; ".join(str(row) for row in rows[:SHOWN])
        self.broken.append(f"{span.kind}: {table.name!r}: {len(rows)} rows {what}: {shown}")

    def _keyed(self, span: Span, table: Table) -> None:
        before, after = span.before.keyed[table.no], span.after.keyed[table.no]
        events, since = _by_number(span.events, table.no), _by_number(span.since, table.no)
        found: dict[str, list[object]] = {}
        for n in before.keys() | after.keys() | events.keys():
            mine, now = events.get(n, []), after.get(n)
            last = mine[-1].row if mine else before.get(n)
            if now == last:
                continue
            theirs = bool(mine) or (bool(since.get(n)) and since[n][-1].row == last)
            if what := self._trouble(span, table, n, (last, now, theirs, bool(mine))):
                found.setdefault(what, []).append((n, last, now))
        for what, rows in found.items():
            self.say(span, table, what, rows)
        self._increments(span, table, events)

    def _trouble(
        self, span: Span, table: Table, n: int, found: tuple[Row | None, Row | None, bool, bool]
    ) -> str | None:
        """What is wrong about a row that rowback wrote. `found`: what others left, what is there now, whether that was
        written by others, and whether in this act."""
        last, now, theirs, touched = found
        if last is not None and theirs and not self._may_overwrite(span, touched=touched):
            return "of others were lost or overwritten"
        if now != self._goal(span, table, n) and now not in _made_by_others(span, table, n):
            return "are neither right nor untouched"
        if not self._may_write(span, table, n, (last, touched)):
            return "were written that this act may not touch"
        return None

    def _goal(self, span: Span, table: Table, n: int) -> Row | None:
        """What rowback may make of a row in this act."""
        if span.kind == "load":
            return self.past.at_target.keyed[table.no].get(n)
        goal = span.written_from if span.kind in ("undo", "redo") else None
        return goal.keyed[table.no].get(n) if goal else span.before.keyed[table.no].get(n)

    @staticmethod
    def _may_overwrite(span: Span, *, touched: bool) -> bool:
        """Only mode replace, and only what was there when the comparison was made."""
        return span.kind == "load" and span.mode == "replace" and (span.compared or not touched)

    def _may_write(self, span: Span, table: Table, n: int, found: tuple[Row | None, bool]) -> bool:
        last, touched = found
        if span.kind == "compare":
            return False
        if span.kind in ("undo", "redo"):
            assert span.written_from
            assert span.written_to
            wrote = span.written_from.keyed[table.no].get(n) != span.written_to.keyed[table.no].get(n)
            return wrote or touched or bool(_made_by_others(span, table, n))
        if touched and not span.compared:
            return last is None and self._may_have_been_absent(span, table, n)
        if span.mode == "missing":
            return last is None
        if span.mode == "repair":
            return last is None or (n in self.past.hit(table.no) and last == self.past.after.keyed[table.no].get(n))
        return True

    def _may_have_been_absent(self, span: Span, table: Table, n: int) -> bool:
        """Whether the comparison can have found a row lost: it was absent at some time since the comparison began."""
        first = span.compared_from or span.before
        gone = any(event.row is None for event in span.since_comparison if (event.table, event.n) == (table.no, n))
        return first.keyed[table.no].get(n) is None or gone

    def _increments(self, span: Span, table: Table, events: Mapping[int, Sequence[Event]]) -> None:
        """Every counted write stands on one that was there: nothing was lost between two writes of one row."""
        val = self.world.at(table, "val")
        wrong = []
        for n, mine in events.items():
            stands_on = [span.before.keyed[table.no].get(n), *(event.row for event in mine)]
            goal = self._goal(span, table, n)
            for earlier, event in zip(stands_on, mine, strict=False):
                if event.op != "update" or event.row is None:
                    continue
                possible = {row[val] + 1 for row in (earlier, goal) if row is not None}
                if event.row[val] not in possible:
                    wrong.append((n, earlier, event.row))
        if wrong:
            self.say(span, table, "were counted up from a value that was not there", wrong)

    def _loose(self, span: Span, table: Table) -> None:
        """Without a key: each value as often as before or as it is meant to be, or between; those of others exactly."""
        theirs = Counter(event.row for event in span.events if event.table == table.no and event.row is not None)
        before, after = span.before.loose[table.no], span.after.loose[table.no]
        goal = self.past.at_target.loose[table.no]
        if span.kind in ("undo", "redo") and span.written_from:
            goal = span.written_from.loose[table.no]
        wrong = []
        for row in before.keys() | after.keys() | theirs.keys() | goal.keys():
            if row in theirs:
                deleted = span.compared and span.kind == "load" and span.mode == "replace" and not after[row]
                fits = after[row] == theirs[row] or deleted
            elif span.kind == "compare" or (span.kind == "load" and span.mode == "missing"):
                most = before[row] if span.kind == "compare" else max(before[row], goal[row])
                fits = before[row] <= after[row] <= most
            elif "writer" in str(row[-1]) and span.mode != "replace":
                fits = after[row] == before[row]
            else:
                fits = min(before[row], goal[row]) <= after[row] <= max(before[row], goal[row])
            if not fits:
                wrong.append((row, before[row], after[row], goal[row]))
        if wrong:
            self.say(span, table, "(without a key) were lost or made up", wrong)

    def _whole(self, span: Span) -> None:
        """Nothing is half visible: all quiet rows change in one moment. A paced load is allowed its batches."""
        if span.paced:
            return
        strange = [digest for digest in span.digests if digest not in (span.before.digest, span.after.digest)]
        if strange:
            self.broken.append(f"{span.kind}: rows were seen half written ({len(strange)} states in between)")
        if not span.wrote and span.before.digest != span.after.digest:
            self.broken.append(f"{span.kind}: quiet rows changed though no transaction of the act is committed")

    def _complete(self, span: Span) -> None:
        """What is not right is named by the account, and its rows at T are those that were there."""
        lines = {line.table: line for line in span.account}
        for table in self.world.tables:
            line = lines.get(printed(table.schema, table.name))
            held = self.past.at_target.keyed[table.no] if table.key else self.past.at_target.loose[table.no]
            rows = len(held) if table.key else Counter(held).total()
            if line and line.at_target != rows:
                self.say(span, table, f"at T, and the account says {line.at_target}", [rows])
            missing = list(self._not_right(span, table) if table.key else self._lost(span, table))
            named = line.not_back if line else 0
            if len(missing) > named:
                self.say(span, table, f"are not right, and the account names {named}", missing)
            stays = list(self._not_deleted(span, table)) if span.mode == "replace" else []
            if len(stays) > (named := line.not_deleted if line else 0):
                self.say(span, table, f"stay that T does not have, and the account names {named}", stays)
            if table.key and line and line.back > (most := self._put_back(span, table)):
                self.say(span, table, f"may be back, and the account says {line.back}", [most])

    def _put_back(self, span: Span, table: Table) -> int:
        """How many rows at T can be back: those that were damaged and are right, or that others have touched."""
        then, damaged = self.past.at_target.keyed[table.no], self.past.after.keyed[table.no]
        touched, after = _by_number(span.ledger, table.no), span.after.keyed[table.no]
        return sum(n in touched or (damaged.get(n) != row and after.get(n) == row) for n, row in then.items())

    def _not_deleted(self, span: Span, table: Table) -> Iterator[object]:
        """Rows that T does not have, that were there when the first comparison began, and that no one touched since."""
        first = span.compared_from or span.before
        if not table.key:
            yield from (
                (first.loose[table.no] & span.after.loose[table.no]) - self.past.at_target.loose[table.no]
            ).elements()
            return
        touched = _by_number(span.since_comparison, table.no)
        for n, row in span.after.keyed[table.no].items():
            if (
                n not in self.past.at_target.keyed[table.no]
                and first.keyed[table.no].get(n) == row
                and n not in touched
            ):
                yield n, row

    def _lost(self, span: Span, table: Table) -> Iterator[object]:
        """Rows of a table without a key that were there at T; others only add to it."""
        yield from (self.past.at_target.loose[table.no] - span.after.loose[table.no]).elements()

    def _not_right(self, span: Span, table: Table) -> Iterator[object]:
        then, after = self.past.at_target.keyed[table.no], span.after.keyed[table.no]
        touched = _by_number(span.ledger, table.no)
        hit, damaged = self.past.hit(table.no), self.past.after.keyed[table.no]
        for n, row in then.items():
            if n in touched or after.get(n) == row or self.past.before.keyed[table.no].get(n) != row:
                continue
            lost = n not in span.before.keyed[table.no]
            reverted = n in hit and span.before.keyed[table.no].get(n) == damaged.get(n)
            if lost or (span.mode == "repair" and reverted) or span.mode == "replace":
                yield n, after.get(n), row

    def _led_back(self, span: Span) -> None:
        """An undo that leaves nothing behind: every row that nobody touched since is as it was."""
        assert span.written_from
        for table in self.world.tables:
            touched = _by_number([*span.since, *span.events], table.no)
            goal, after = span.written_from.keyed[table.no], span.after.keyed[table.no]
            wrong = [
                (n, after.get(n), goal.get(n))
                for n in goal.keys() | after.keys()
                if n not in touched and after.get(n) != goal.get(n)
            ]
            if wrong:
                self.say(span, table, "are not as they were before", wrong)


def _made_by_others(span: Span, table: Table, n: int) -> list[Row | None]:
    """What others had made of a row before the write that an undo takes back, perhaps in the same act."""
    return [event.row for event in span.since if (event.table, event.n) == (table.no, n)]


def _by_number(events: Sequence[Event], table: int) -> dict[int, list[Event]]:
    found: dict[int, list[Event]] = {}
    for event in events:
        if event.table == table:
            found.setdefault(event.n, []).append(event)
    return found
