"""A schedule under way: acts between snapshots, judged one by one. What an act is, the levels say."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from tests.soak import leftovers, product
from tests.soak.oracle import Judge, Past, Span
from tests.soak.process import CRASHED, INTERRUPTED, KILLED, Ended, is_crash
from tests.soak.product import Noted
from tests.soak.schedules import Act, Schedule
from tests.soak.server import Place
from tests.soak.tally import Tally
from tests.soak.world import Connection, Snapshot, read, strike
from tests.soak.writers import Event, Heard, Writers

TRIES = 6
ENDED, VERIFY_DIFFERS, NOTHING_TO_UNDO, UNDO_IN_PART, REFUSED = (0, 47), 40, 42, 48, 22
UNTOUCHED = "nothing was written to the original"
AGAIN = (KILLED, INTERRUPTED, CRASHED, 29, *range(30, 40), 51, 52, 53)


@dataclass(frozen=True)
class Write:
    """The last write of the case: what it led from and to, and how long the ledger was before it."""

    before: Snapshot
    after: Snapshot
    mark: int


class Run(ABC):
    """One schedule on one database. `app`: the oracle's own session."""

    app: Connection
    judge: Judge

    def __init__(self, schedule: Schedule, place: Place, tally: Tally) -> None:
        self.schedule, self.place, self.tally = schedule, place, tally
        self.ledger: list[Event] = []
        self.steps: list[str] = [f"world {schedule.world}", str(schedule)]
        self.broken: list[str] = []
        self.write: Write | None = None
        self.taken_back: Write | None = None
        self.compared: tuple[Snapshot, int] | None = None
        self.xid = 0

    @abstractmethod
    def perform(self, act: Act) -> Ended:
        """One process of the operator."""

    @abstractmethod
    def noted(self) -> Noted:
        """What the journals say by now."""

    @abstractmethod
    def kind(self, act: Act) -> str:
        """What the oracle calls an act: compare (writes nothing), load or undo."""

    @abstractmethod
    def settle(self, act: Act) -> None:
        """Wait until the server has dealt with clients that are gone."""

    @contextmanager
    def beside(self, act: Act) -> Iterator[list[int]]:
        """Others who recover at the same time; yields the ids of their transactions, known at the end."""
        yield []

    def strike(self, writers: Writers, at_target: Snapshot) -> None:
        """The incident, with writes of others before and after it."""
        self.hear(writers.burst(self.schedule.bursts[0]))
        before = self.look()
        with self.place.connect("soak incident") as app:
            self.xid = strike(app, self.schedule.world)
        self.judge = Judge(self.schedule.world, Past(at_target, before, self.look()), self.broken)
        self.hear(writers.burst(self.schedule.bursts[1]))

    def attempt(self, writers: Writers, act: Act, *, redo: bool = False) -> tuple[Ended, Span]:
        """One process of the operator between two snapshots, judged."""
        known, before, mark = self.noted(), self.look(), len(self.ledger)
        self.compared = self.compared or (before, mark)
        if not act.calm:
            writers.start()
        with self.beside(act) as others:
            ended = self.perform(act)
        self.settle(act)
        heard = writers.pause()
        self.hear(heard)
        now = self.noted()
        span = self.span("load" if others else "redo" if redo else self.kind(act), (before, self.look()), heard, mark)
        fresh = set((*now.load_intents, *now.undo_intents)) - set((*known.load_intents, *known.undo_intents))
        span = replace(
            span,
            compared="changes.begun" in now.events[len(known.events) :] or bool(others),
            wrote=bool(self.settled([*fresh, *others])),
            partial=act.verb == "undo in part",
            ended=ended.told.code in (*ENDED, VERIFY_DIFFERS) and not others,
            paced=(self.schedule.paced and span.kind == "load") or bool(others),
            account=ended.told.account,
        )
        self.told(act, ended)
        self.judge.judge(span)
        if span.wrote and span.kind != "compare":
            self.compare_images(span)
            if UNTOUCHED in ended.told.words and not others:
                self.broken.append(f"{span.kind} is committed, and rowback says that {UNTOUCHED}")
        if not self.schedule.paced and any(len(self.settled(intents)) > 1 for intents in self.loads_by_case(now)):
            self.broken.append("the load was committed twice")
        return ended, span

    def compare_images(self, span: Span) -> None:
        """Every row that rowback changed or deleted is kept as it was."""
        for table in self.schedule.world.tables:
            theirs = {event.n for event in span.events if event.table == table.no}
            before, after = span.before.keyed[table.no], span.after.keyed[table.no]
            changed = {row for n, row in before.items() if n not in theirs and after.get(n) != row}
            if not changed:
                continue
            images = leftovers.before_images(self.app, product.printed(table.schema, table.name))
            if missing := changed - set(images):
                self.judge.say(span, table, "were changed and have no before-image", sorted(missing, key=repr))

    def span(self, kind: str, ends: tuple[Snapshot, Snapshot], heard: Heard, mark: int) -> Span:
        """An act with what its past tells."""
        write = self.taken_back if kind in ("undo", "redo") else None
        first, compared_mark = self.compared or (ends[0], 0)
        return Span(
            kind,
            self.schedule.mode,
            *ends,
            heard.events,
            heard.digests,
            compared=False,
            wrote=False,
            ended=False,
            since=self.ledger[write.mark : mark] if write else (),
            ledger=tuple(self.ledger),
            compared_from=first,
            since_comparison=self.ledger[compared_mark:],
            written_from=write.before if write else None,
            written_to=write.after if write else None,
        )

    def note_write(self, span: Span, *, goes_on: bool) -> None:
        """Remember what the last write led from and to. `goes_on`: it is a further batch of one."""
        if goes_on and self.write:
            self.write = Write(self.write.before, span.after, self.write.mark)
        else:
            self.write = Write(span.before, span.after, len(self.ledger) - len(span.events))

    def finish_undo(self, writers: Writers, act: Act, *, redo: bool) -> bool:
        """An undo until it is over; whether the next act may follow."""
        start = len(self.noted().events)
        self.taken_back = self.write
        for _ in range(TRIES):
            ended, span = self.attempt(writers, act, redo=redo)
            code = ended.told.code
            self.blame(act, ended)
            if code in (UNDO_IN_PART, NOTHING_TO_UNDO, REFUSED) and not (span.since or span.events):
                self.broken.append(f"{act.verb}: rows stay though nobody wrote since: {ended.told.words}")
            if span.wrote:
                self.note_write(span, goes_on=False)
            if code in AGAIN and "undo.done" in self.noted().events[start:]:
                return True  # it is over and written down: again would turn it round
            if code in ENDED or code not in (*AGAIN, UNDO_IN_PART, REFUSED):
                return code in ENDED
            act = replace(act, verb="undo in part" if code == UNDO_IN_PART else act.verb, fault=None)
        if code != REFUSED:  # others changed rows each time: refused, as it should be
            self.never_over(act, ended)
        return False

    def blame(self, act: Act, ended: Ended) -> None:
        """Ends that no fault excuses."""
        if is_crash(ended.told, act.fault):
            self.broken.append(f"{act.verb}: crash: {ended.told.words[-1500:]}")
        if ended.told.code == VERIFY_DIFFERS:
            self.broken.append(f"{act.verb}: exit 40: {ended.told.words}")

    def never_over(self, act: Act, ended: Ended) -> None:
        """The tries are used up."""
        self.broken.append(f"{act.verb} is not over after {TRIES} tries: {ended.told.code} {ended.told.words}")

    def loads_by_case(self, now: Noted) -> list[Sequence[int]]:
        """The ids under which each case tried to load."""
        return [now.load_intents]

    def settled(self, xids: Sequence[int]) -> list[int]:
        """Those transactions of the journals that the server knows as committed."""
        asking = "select pg_xact_status(%s::text::xid8)"
        found = [(xid, self.app.execute(asking, (str(xid),)).fetchone()) for xid in xids]
        return [xid for xid, status in found if status and status[0] == "committed"]

    def told(self, act: Act, ended: Ended) -> None:
        """Write down what was done and how it ended."""
        words = " / ".join(line.strip() for line in ended.told.words.splitlines()[:6])[:400]
        struck = f", {act.fault}{'' if ended.struck else ' (no effect seen)'}" if act.fault else ""
        self.steps.append(f"{act.verb}{struck}: exit {ended.told.code} in {ended.seconds:.2f} s {words}")
        self.tally.ends[f"{act.verb} {ended.told.code}"] += 1
        if act.fault:
            self.tally.drawn[act.fault.name] += 1
            self.tally.struck[act.fault.name] += ended.struck

    def hear(self, heard: Heard) -> None:
        """Take over what others wrote."""
        self.ledger += heard.events
        self.tally.commits += len(heard.events)
        self.tally.refused += heard.refused
        self.tally.longest_wait_s = max(self.tally.longest_wait_s, heard.longest_wait_s)

    def look(self) -> Snapshot:
        """What the database holds now."""
        return read(self.app, self.schedule.world)

    def compare_definitions(self, drawn: list[tuple[object, ...]]) -> None:
        """Everything but rows is as it was at T, and every reference has its parent."""
        if changed := set(drawn) ^ set(leftovers.definitions(self.app)):
            self.broken.append(f"definitions are not as they were: {sorted(map(str, changed))[:4]}")
        self.broken += leftovers.dangling(self.app)
