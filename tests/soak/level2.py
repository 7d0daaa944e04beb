"""Level 2: one recovery on two databases of one plain server, in about a second."""

from __future__ import annotations

import multiprocessing as mp
import random
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from recovery.errors import RowbackError
from tests.soak import leftovers, product
from tests.soak.faults import Fault, draw_fault
from tests.soak.forwarder import harming
from tests.soak.known import sorted_out
from tests.soak.oracle import Judge, Past, Span
from tests.soak.process import CRASHED, DEADLINE_S, INTERRUPTED, KILLED, Ended, perform
from tests.soak.product import Operator
from tests.soak.server import ORACLE, Server
from tests.soak.tally import Failure, Tally
from tests.soak.world import Snapshot, World, build, draw, read, strike
from tests.soak.writers import Event, Writers, writing

MODES = ("missing", "missing", "repair", "repair", "replace")
TRIES = 6
ENDED, VERIFY_DIFFERS, UNDO_IN_PART, REFUSED = (0, 47), 40, 48, 22
AGAIN = (KILLED, INTERRUPTED, CRASHED, 30, 51, 52, 38)
PAUSES_S = (0.005, 0.02, 0.02, 0.1)


@dataclass(frozen=True)
class Act:
    """What an operator does, the fault of the first try, and whether others write meanwhile."""

    verb: str
    fault: Fault | None
    calm: bool


@dataclass(frozen=True)
class Schedule:
    """One drawn schedule. `bursts`: writes of each before and after the incident; `pause_s`: of the writers."""

    seed: int
    world: World
    mode: str
    paced: bool
    bursts: tuple[int, int]
    acts: tuple[Act, ...]
    second: bool
    pause_s: float

    def __str__(self) -> str:
        pace = ", paced" if self.paced else ""
        return f"seed {self.seed}: mode {self.mode}{pace}, {self.world.incident.kind}"


def draw_schedule(seed: int) -> Schedule:
    """The schedule of a seed."""
    rng = random.Random(f"level 2 schedule {seed}")
    world, mode, paced = draw(rng), rng.choice(MODES), rng.random() < 0.35
    second = rng.random() < 0.1
    verbs = ["compare", "load", *([] if second else ["undo", "undo"][: rng.choice([0, 1, 1, 2])])]
    acts = tuple(
        Act(verb, draw_fault(rng, verb, paced=paced), rng.random() < (0.8 if verb == "compare" else 0.4))
        for verb in verbs
    )
    bursts = (rng.randint(0, 3), rng.randint(0, 6))
    return Schedule(seed, world, mode, paced, bursts, acts, second, rng.choice(PAUSES_S))


@dataclass(frozen=True)
class Write:
    """The last write of the case: what it led from and to, and how long the ledger was before it."""

    before: Snapshot
    after: Snapshot
    mark: int


class Run:
    """A schedule under way."""

    def __init__(self, server: Server, schedule: Schedule, home: Path, tally: Tally) -> None:
        self.server, self.schedule, self.home, self.tally = server, schedule, home, tally
        self.place = server.place(f"soak{schedule.seed}")
        self.operator = Operator(home / "home", self.place, server.port, schedule.paced)
        self.ledger: list[Event] = []
        self.steps: list[str] = [f"world {schedule.world}", str(schedule)]
        self.broken: list[str] = []
        self.write: Write | None = None
        self.taken_back: Write | None = None
        self.compared: tuple[Snapshot, int] | None = None
        self.others: list[tuple[Operator, str]] = []
        self.port = server.port

    def play(self) -> None:
        """All of it."""
        schedule, place = self.schedule, self.place
        self.server.create(place.database)
        with place.connect(ORACLE) as app:
            with app.transaction():
                build(app, schedule.world)
            boundary = app.execute("select pg_current_xact_id()::text::bigint").fetchone()
        assert boundary
        self.server.create(self.operator.copy.database, place.database)
        with place.connect(ORACLE) as self.app:
            self.live_through(int(boundary[0]))

    def live_through(self, boundary: int) -> None:
        """What happens after T."""
        schedule, place = self.schedule, self.place
        at_target, drawn = self.look(), leftovers.definitions(self.app)
        with writing(place, schedule.world, schedule.seed, schedule.pause_s) as writers:
            self.hear(writers, schedule.bursts[0])
            before = self.look()
            with place.connect("soak incident") as app:
                self.xid, self.boundary = strike(app, schedule.world), boundary
            self.judge = Judge(schedule.world, Past(at_target, before, self.look()), self.broken)
            self.hear(writers, schedule.bursts[1])
            case = product.open_recovery(self.operator, schedule.mode, self.xid, boundary)
            self.recover(writers, case)
            self.tally.commits += writers.total
        self.clear(case)
        if leftovers.definitions(self.app) != drawn:
            changed = set(drawn) ^ set(leftovers.definitions(self.app))
            self.broken.append(f"definitions are not as they were: {sorted(map(str, changed))[:4]}")
        self.broken += leftovers.dangling(self.app)

    def recover(self, writers: Writers, case: str) -> None:
        """The operator's acts, each with its fault, and again until it is over."""
        with ExitStack() as opened:
            for number, act in enumerate(self.schedule.acts):
                self.port = self.server.port
                if act.fault and act.fault.harm:
                    self.port = opened.enter_context(harming(self.server.port, act.fault.harm))
                if not self.finish(writers, case, act, redo=act.verb == "undo" and number == 3):
                    return

    def finish(self, writers: Writers, case: str, act: Act, *, redo: bool) -> bool:
        """One act until it is over; whether the next one may follow."""
        start = len(product.noted(self.operator, case).events)
        self.taken_back = self.write
        for _ in range(TRIES):
            ended, span = self.attempt(writers, case, act, redo=redo)
            self.blame(act.verb, ended)
            if span.wrote:
                self.note_write(span, goes_on=act.verb == "load" and self.write is not self.taken_back)
            events = product.noted(self.operator, case).events[start:]
            if act.verb == "undo" and ended.told.code in AGAIN and "undo.done" in events:
                return True  # it is over and written down: again would turn it round
            if ended.told.code in ENDED or not _again(act.verb, ended.told.code):
                return ended.told.code in ENDED
            verb = "undo in part" if act.verb == "undo" and ended.told.code == UNDO_IN_PART else act.verb
            act = replace(act, verb=verb, fault=None)
        if ended.told.code != REFUSED:  # others changed rows each time: refused, as it should be
            self.broken.append(f"{act.verb} is not over after {TRIES} tries: {ended.told.code} {ended.told.words}")
        return False

    def blame(self, verb: str, ended: Ended) -> None:
        """Ends that no fault excuses."""
        if ended.told.code == CRASHED and "Traceback" in ended.told.words:
            self.broken.append(f"{verb}: traceback: {ended.told.words[-1500:]}")
        if ended.told.code == VERIFY_DIFFERS:
            self.broken.append(f"{verb}: exit 40: {ended.told.words}")

    def note_write(self, span: Span, *, goes_on: bool) -> None:
        """Remember what the last write led from and to. `goes_on`: it is a further portion of one."""
        if goes_on and self.write:
            self.write = Write(self.write.before, span.after, self.write.mark)
        else:
            self.write = Write(span.before, span.after, len(self.ledger) - len(span.events))

    def attempt(self, writers: Writers, case: str, act: Act, *, redo: bool) -> tuple[Ended, Span]:
        """One process of the operator between two snapshots, judged."""
        verb, fault = act.verb, act.fault
        operator = replace(self.operator, port=self.port)
        known, before, mark = product.noted(operator, case), self.look(), len(self.ledger)
        if verb == "compare":
            self.compared = self.compared or (before, mark)
        if not act.calm:
            writers.start()
        alone = len(self.others)
        with self.beside(verb) as others:
            ended = perform(partial(product.act, operator, case, verb), fault, self.place)
        self.settle(fault)
        heard = writers.pause()
        self.ledger += heard.events
        self.tally.refused += heard.refused
        self.tally.longest_wait_s = max(self.tally.longest_wait_s, heard.longest_wait_s)
        after, now = self.look(), product.noted(operator, case)
        fresh = [xid for xid in (*now.load_intents, *now.undo_intents) if xid not in
                 (*known.load_intents, *known.undo_intents)]  # fmt: skip
        kind = "redo" if redo else verb.split()[0]
        write = self.taken_back if kind in ("undo", "redo") else None
        span = Span(
            kind, self.schedule.mode, before, after, heard.events, heard.digests,
            compared="changes.begun" in now.events[len(known.events) :] or alone < len(self.others),
            wrote=bool(self.settled([*fresh, *others])),
            ended=ended.told.code in (*ENDED, VERIFY_DIFFERS) and not self.others, partial=verb == "undo in part",
            paced=(self.schedule.paced and kind == "load") or bool(others),
            since=self.ledger[write.mark : mark] if write else (), ledger=tuple(self.ledger),
            compared_from=self.compared[0] if self.compared else None,
            since_comparison=self.ledger[self.compared[1]:] if self.compared else self.ledger,
            written_from=write.before if write else None, written_to=write.after if write else None,
            account=ended.told.account,
        )  # fmt: skip
        self.told(verb, fault, ended)
        self.judge.judge(span)
        if not self.schedule.paced and len(self.settled(now.load_intents)) > 1:
            self.broken.append("the load was committed twice")
        return ended, span

    @contextmanager
    def beside(self, verb: str) -> Iterator[list[int]]:
        """A second operator with a home of their own, who recovers the same rows at the same time; yields the ids of
        their transactions, known at the end."""
        intents: list[int] = []
        if not self.schedule.second or verb != "load" or self.others:
            yield intents
            return
        other = replace(self.operator, home=self.home / "second", port=self.server.port)
        process = mp.get_context("fork").Process(target=self.recover_as, args=(other,))
        process.start()
        try:
            yield intents
        finally:
            process.join(DEADLINE_S)
            if process.is_alive():
                process.kill()
                self.broken.append("the second operator's process hangs")
            process.join()
        for path in (other.home / "cases").iterdir():
            self.others.append((other, path.name))
            intents += product.noted(other, path.name).load_intents
            self.steps.append(f"second operator: {product.status(other, path.name)}")

    def recover_as(self, other: Operator) -> None:
        """What the second operator's process does."""
        case = product.open_recovery(other, self.schedule.mode, self.xid, self.boundary)
        for verb in ("compare", "load"):
            if product.act(other, case, verb).code not in ENDED:
                return

    def settle(self, fault: Fault | None) -> None:
        """Wait until the server has dealt with a client that is gone, unless its connection is only half closed."""
        if fault and fault.harm and fault.harm.kind == "half open":
            return
        self.broken += leftovers.sessions_left(self.app)

    def settled(self, xids: Sequence[int]) -> list[int]:
        """Those transactions of the journal that the server knows as committed."""
        asking = "select pg_xact_status(%s::text::xid8)"
        found = [(xid, self.app.execute(asking, (str(xid),)).fetchone()) for xid in xids]
        return [xid for xid, status in found if status and status[0] == "committed"]

    def told(self, verb: str, fault: Fault | None, ended: Ended) -> None:
        """Write down what was done and how it ended."""
        words = " / ".join(line.strip() for line in ended.told.words.splitlines()[:6])[:400]
        struck = f", {fault}{'' if ended.struck else ' (did not strike)'}" if fault else ""
        self.steps.append(f"{verb}{struck}: exit {ended.told.code} in {ended.seconds:.2f} s {words}")
        self.tally.ends[f"{verb} {ended.told.code}"] += 1
        if fault:
            name = fault.harm.kind if fault.harm else fault.kind
            self.tally.drawn[name] += 1
            self.tally.struck[name] += ended.struck

    def hear(self, writers: Writers, count: int) -> None:
        """A burst of the writers."""
        self.ledger += writers.burst(count).events

    def look(self) -> Snapshot:
        return read(self.app, self.schedule.world)

    def clear(self, case: str) -> None:
        """Close the case: nothing of it may be left but its own files."""
        for operator, name in [(self.operator, case), *self.others]:
            ended = perform(partial(product.act, operator, name, "close"), None, self.place)
            self.told("close", None, ended)
            if ended.told.code != 0:
                self.broken.append(f"close: exit {ended.told.code} {ended.told.words[-800:]}")
            self.broken += leftovers.files_left(operator.home)
        self.broken += leftovers.sessions_left(self.app)
        product.clean(self.operator)
        self.broken += leftovers.prepared_left(self.app)
        self.broken += leftovers.temporary_tables_left(self.app)
        self.broken += leftovers.children_left()


def _again(verb: str, code: int) -> bool:
    """Whether an end asks for another try: interrupted, cut off, or an undo that others came before."""
    return code in AGAIN or (verb.startswith("undo") and code in (UNDO_IN_PART, REFUSED))


def play(server: Server, seed: int, tally: Tally, *, verbose: bool = False) -> None:
    """One schedule; what is broken goes into the tally with everything that is needed to replay it."""
    run = play_schedule(server, draw_schedule(seed), tally)
    if verbose:
        print("\n".join(run.steps), flush=True)  # noqa: T201
    unknown, known = sorted_out(run.broken)
    tally.known.update(known)
    if unknown:
        tally.failures.append(Failure(2, seed, tuple(run.steps), tuple(unknown)))


def play_schedule(server: Server, schedule: Schedule, tally: Tally) -> Run:
    """Play it to its end and remove what it made."""
    began = time.monotonic()
    home = Path(tempfile.mkdtemp(prefix="rowback-soak-home-"))
    run = Run(server, schedule, home, tally)
    try:
        run.play()
    except (TimeoutError, RowbackError) as error:
        run.broken.append(f"{type(error).__name__}: {error}")
    finally:
        server.drop(run.place.database, run.operator.copy.database)
        shutil.rmtree(home, ignore_errors=True)
    tally.schedules += 1
    tally.seconds += time.monotonic() - began
    tally.incidents[f"{schedule.world.incident.kind}/{schedule.mode}"] += 1
    return run
