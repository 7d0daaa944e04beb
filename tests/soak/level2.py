"""Level 2: one recovery on two databases of one plain server, in about a second."""

from __future__ import annotations

import multiprocessing as mp
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from recovery.errors import RowbackError
from tests.soak import leftovers, product
from tests.soak.faults import terminate
from tests.soak.forwarder import harming
from tests.soak.playing import AGAIN, ENDED, TRIES, VERIFY_DIFFERS, Run
from tests.soak.process import DEADLINE_S, Ended, perform
from tests.soak.product import Noted, Operator
from tests.soak.schedules import Act, Schedule, draw_on_server
from tests.soak.server import ORACLE, Server
from tests.soak.tally import Tally
from tests.soak.world import build
from tests.soak.writers import Writers, writing


class ServerRun(Run):
    """A schedule on a plain server."""

    case = ""

    def __init__(self, server: Server, schedule: Schedule, home: Path, tally: Tally) -> None:
        super().__init__(schedule, server.place(f"soak{schedule.seed}"), tally)
        self.server, self.home, self.port = server, home, server.port
        self.operator = Operator(home / "home", self.place, server.port, schedule.paced)
        self.others: list[tuple[Operator, str]] = []
        self.boundary = 0
        self.half_open = False

    def play(self) -> None:
        """All of it."""
        self.server.create(self.place.database)
        with self.place.connect(ORACLE) as app:
            with app.transaction():
                build(app, self.schedule.world)
            row = app.execute("select pg_current_xact_id()::text::bigint").fetchone()
        assert row
        self.boundary = row[0]
        self.server.create(self.operator.copy.database, self.place.database)
        with self.place.connect(ORACLE) as self.app:
            self.live_through()

    def live_through(self) -> None:
        """What happens after T."""
        schedule = self.schedule
        at_target, drawn = self.look(), leftovers.definitions(self.app)
        with writing(self.place, schedule.world, schedule.seed, schedule.pause_s) as writers:
            self.strike(writers, at_target)
            self.case = product.open_recovery(self.operator, schedule.mode, self.xid, self.boundary)
            self.recover(writers)
        self.compare_definitions(drawn)

    def recover(self, writers: Writers) -> None:
        """The operator's acts, each with its fault, and again until it is over; then the close, with every connection
        that is half open still there."""
        with ExitStack() as opened:
            for number, act in enumerate(self.schedule.acts):
                self.port, self.half_open = self.server.port, False
                if act.fault and act.fault.harm:
                    self.half_open = act.fault.harm.kind == "half open"
                    self.port = opened.enter_context(harming(self.server.port, act.fault.harm))
                if act.verb == "undo":
                    over = self.finish_undo(writers, act, redo=number == 3)
                else:
                    over = self.finish(writers, act)
                if not over:
                    break
                self.broken += leftovers.sessions_left(self.app)
            self.port = self.server.port
            self.clear()

    def finish(self, writers: Writers, act: Act) -> bool:
        """A comparison or a load until it is over; whether the next act may follow."""
        before = self.write
        for _ in range(TRIES):
            ended, span = self.attempt(writers, act)
            self.blame(act, ended)
            if span.wrote:
                self.note_write(span, goes_on=self.write is not before)
            if ended.told.code in ENDED or ended.told.code not in AGAIN:
                return ended.told.code in (*ENDED, VERIFY_DIFFERS)
            act = replace(act, fault=None)
        self.never_over(act, ended)
        return False

    def perform(self, act: Act) -> Ended:
        operator = replace(self.operator, port=self.port)
        return perform(partial(product.act, operator, self.case, act.verb), act.fault, self.place)

    def noted(self) -> Noted:
        return product.noted(self.operator, self.case)

    def kind(self, act: Act) -> str:
        return act.verb.split()[0]

    @contextmanager
    def beside(self, act: Act) -> Iterator[list[int]]:
        """A second operator with a home of their own, during the first try to load."""
        intents: list[int] = []
        if not self.schedule.second or act.verb != "load" or self.others:
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
        for path in sorted((other.home / "cases").glob("*")):
            self.others.append((other, path.name))
            intents += product.noted(other, path.name).load_intents
            self.steps.append(f"second operator: {product.status(other, path.name)}")

    def recover_as(self, other: Operator) -> None:
        """What the second operator's process does."""
        with suppress(RowbackError):  # its sessions may be terminated, too
            case = product.open_recovery(other, self.schedule.mode, self.xid, self.boundary)
            for verb in ("compare", "load"):
                if product.act(other, case, verb).code not in ENDED:
                    return

    def settle(self, act: Act) -> None:
        """A connection that is only half closed stays until rowback asks what became of it."""
        if not self.half_open:
            self.broken += leftovers.sessions_left(self.app)

    def clear(self) -> None:
        """Close the cases: nothing of them may be left but their own files."""
        for operator, name in [(self.operator, self.case), *self.others]:
            ended = perform(partial(product.act, operator, name, "close"), None, self.place)
            self.told(Act("close", None, calm=True), ended)
            if ended.told.code != 0:
                self.broken.append(f"close: exit {ended.told.code} {ended.told.words[-800:]}")
            self.broken += leftovers.files_left(operator.home)
        if left := list(leftovers.sessions_left(self.app)):
            self.broken.append(f"after close: {left[0]}, and {len(left) - 1} locks")
            terminate(self.place)
        product.clean(self.operator)
        self.broken += leftovers.schemas_left(self.app)
        self.broken += leftovers.temporary_tables_left(self.app)
        self.broken += leftovers.processes_left(self.home)


def play(server: Server, seed: int, tally: Tally) -> Run:
    """The schedule of a seed."""
    return play_schedule(server, draw_on_server(seed), tally)


def play_schedule(server: Server, schedule: Schedule, tally: Tally) -> Run:
    """Play it to its end and remove what it made."""
    began = time.monotonic()
    home = Path(tempfile.mkdtemp(prefix="rowback-soak-home-"))
    run = ServerRun(server, schedule, home, tally)
    try:
        run.play()
    except (TimeoutError, RowbackError) as error:
        run.broken.append(f"{type(error).__name__}: {error}")
    finally:
        server.drop(run.place.database, run.operator.copy.database)
        shutil.rmtree(home, ignore_errors=True)
    tally.played(schedule, time.monotonic() - began)
    return run
