"""Level 1: whole recoveries through the command line, on the lab."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from psycopg import sql

from recovery.errors import RowbackError
from recovery.model.target import format_utc
from runbooks.lab.background import INSTANCE, pass_a_second
from tests.soak import leftovers, product
from tests.soak.commands import Command
from tests.soak.faults import Fault
from tests.soak.lab import FOREIGN, LabServer
from tests.soak.oracle import Span
from tests.soak.playing import AGAIN, ENDED, TRIES, VERIFY_DIFFERS, Run
from tests.soak.process import Ended
from tests.soak.product import Noted, Operator, Told
from tests.soak.schedules import Act, Schedule, draw_on_lab
from tests.soak.server import ORACLE
from tests.soak.tally import Tally
from tests.soak.world import build, plain
from tests.soak.writers import Writers, writing

LOADS = ("restore", "apply", "resume")
NEEDS_APPROVAL, COPY_FAILED, USAGE = 21, 50, 2
QUIET = Act("close", None, calm=True)


class LabRun(Run):
    """A schedule on the lab's instance, in a database of its own."""

    def __init__(self, lab: LabServer, schedule: Schedule, home: Path, tally: Tally) -> None:
        super().__init__(schedule, lab.place(f"soak{schedule.seed}"), tally)
        self.lab, self.home = lab, home
        self.operator = Operator(home / "first", self.place, lab.instance_port)
        self.second = Operator(home / "second", self.place, lab.instance_port)
        self.target: datetime | None = None
        self.raced = False
        self.paced = schedule.paced

    def play(self) -> None:
        """All of it."""
        schedule = self.schedule
        self.lab.create(self.place.database)
        self.app = self.place.connect(ORACLE)
        with self.app.transaction():
            build(self.app, schedule.world)
        at_target, drawn = self.look(), leftovers.definitions(self.app)
        self.target = pass_a_second()
        with writing(self.place, schedule.world, schedule.seed, schedule.pause_s) as writers:
            self.strike(writers, at_target)
            self.recover(writers)
            self.clear(writers)
        self.broken += leftovers.schemas_left(self.app)
        self.broken += leftovers.temporary_tables_left(self.app)
        self.compare_definitions(drawn)
        self.app.close()

    def recover(self, writers: Writers) -> None:
        """The operator's commands, each with its fault, and again until it is over."""
        undone = 0
        if self.schedule.impostor:
            self.impersonate(writers)
        for act in self.schedule.acts:
            if act.verb == "undo":
                undone += 1
                over = self.finish_undo(writers, act, redo=undone == 2)
            else:
                over = self.finish(writers, act)
            if not over:
                return
            if self.schedule.reaps and act is self.schedule.acts[0]:
                self.reap(writers)

    def finish(self, writers: Writers, act: Act) -> bool:
        """A command until it is over; whether the next one may follow."""
        before, wanted = self.write, act.verb
        for _ in range(TRIES + 2):
            ended, span = self.attempt(writers, act)
            self.blame(act, ended)
            if span.wrote:
                self.note_write(span, goes_on=self.write is not before)
            if ended.told.code in (*ENDED, VERIFY_DIFFERS):
                return True
            verb = self.next_verb(wanted, ended, writers)
            if verb is None:
                return False
            if verb == "":
                return True
            act = Act(verb, None, act.calm)
        self.never_over(act, ended)
        return False

    def next_verb(self, wanted: str, ended: Ended, writers: Writers) -> str | None:
        """How a person goes on after an end: a command, the next act (""), or not at all."""
        case, code = self.case(), ended.told.code
        if code == USAGE and self.paced:
            self.paced = False  # only whole tables: those come back in one transaction
            return wanted
        if code == NEEDS_APPROVAL and case and self.planned_digest():
            return "apply"
        if code == COPY_FAILED:
            self.close(writers)
            return "restore" if wanted == "restore" else None
        if code not in AGAIN:
            return None
        if case is None or product.planned(self.operator, case).closed:
            return wanted if wanted in ("restore", "open") else None
        return {"open": "", "restore": "resume", "apply": "resume"}.get(wanted, wanted)

    def planned_digest(self) -> str:
        case = self.case()
        return product.planned(self.operator, case).digest if case else ""

    def perform(self, act: Act) -> Ended:
        command = Command(
            self.lab, self.operator.home, self.arguments(act.verb), act.fault, self.place.database, self.case
        )
        found = command.run()
        words, case = found.err.strip(), self.case()
        if "error[" in words:
            words = words[words.index("error[") :]
        told = product.told_of(self.operator, case, found.code, words) if case else Told(found.code, words)
        return Ended(told, found.struck, found.seconds)

    def arguments(self, verb: str) -> list[str]:
        """The command line of a verb."""
        assert self.target
        case, schedule, database = self.case() or "", self.schedule, self.place.database
        opening = [
            INSTANCE,
            "--at",
            format_utc(self.target),
            "--database",
            database,
            "--mode",
            schedule.mode,
            "--transport",
            schedule.transport,
            "--wait-for-window",
            "30s",
        ]
        if schedule.mode == "repair":
            opening += ["--incident-xid", str(self.xid)]
        confirmed = ["--confirm", database]
        lines = {
            "restore": ["restore", *opening, *confirmed],
            "open": ["open", *opening],
            "undo": ["undo", case, *confirmed],
            "undo in part": ["undo", case, "--accept-partial", *confirmed],
            "cleanup": ["cleanup", INSTANCE, "--database", database, "--case", case, *confirmed],
            "reap": ["reap"],
        }
        if verb == "apply":
            return ["apply", case, *self.approving(case), *confirmed]
        return lines.get(verb, [verb, case])

    def approving(self, case: str) -> list[str]:
        """What apply must be told beside the case."""
        planned = product.planned(self.operator, case)
        loss = ["--confirm-loss", str(planned.loses)] if planned.loses else []
        return [planned.digest[:12], *loss, *(["--max-wal-rate", "1GiB"] if self.paced else [])]

    def case(self) -> str | None:
        """The operator's newest case whose opening is on disk."""
        return next(iter(reversed(_cases(self.operator))), None)

    def noted(self) -> Noted:
        found = [product.noted(self.operator, case) for case in _cases(self.operator)]
        return Noted(
            tuple(event for each in found for event in each.events),
            tuple(xid for each in found for xid in each.load_intents),
            tuple(xid for each in found for xid in each.undo_intents),
        )

    def loads_by_case(self, now: Noted) -> list[Sequence[int]]:
        """A case that was over when its command was killed is followed by one of its own."""
        return [product.noted(self.operator, case).load_intents for case in _cases(self.operator)]

    def kind(self, act: Act) -> str:
        if act.verb.startswith("undo"):
            return "undo"
        return "load" if act.verb in LOADS and self.schedule.mode != "beside" else "compare"

    @contextmanager
    def beside(self, act: Act) -> Iterator[list[int]]:
        """A second operator with a home of their own, who restores the same database at the same time."""
        intents: list[int] = []
        if not self.schedule.second or self.raced:
            yield intents
            return
        self.raced = True
        line = ["restore", *self.arguments("restore")[1:]]
        process = Command(self.lab, self.second.home, line, None, self.place.database, lambda: None).start()
        try:
            yield intents
        finally:
            with suppress(subprocess.TimeoutExpired):
                process.wait(60)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                self.broken.append("the second operator's restore hangs")
        intents += [xid for case in _cases(self.second) for xid in product.noted(self.second, case).load_intents]
        self.steps.append(f"second operator's restore: exit {process.returncode}")
        self.tally.ends[f"second restore {process.returncode}"] += 1

    def attempt(self, writers: Writers, act: Act, *, redo: bool = False) -> tuple[Ended, Span]:
        try:
            return super().attempt(writers, act, redo=redo)
        finally:
            self.broken += leftovers.processes_left(self.home)

    def settle(self, act: Act) -> None:
        """Also until an original that was ended is back."""
        if act.fault and act.fault.kind.startswith("original"):
            self.lab.wait_available()
            self.app.close()
            self.app = self.place.connect(ORACLE)
        self.broken += leftovers.sessions_left(self.app)

    def impersonate(self, writers: Writers) -> None:
        """Killed before the copy's start is called, then another instance has its name and tags: that must stay."""
        verb = self.schedule.acts[0].verb
        self.attempt(writers, Act(verb, Fault("kill", "step.start/start-copy"), calm=True))
        if (case := self.case()) is None:
            return
        self.lab.impersonate(case)
        for verb in ("close", "reap"):
            self.attempt(writers, replace(QUIET, verb=verb))
            if f"rowback-{case}" not in self.lab.instances():
                self.broken.append(f"{verb} deleted an instance that only has the name and tags of a copy")
        if self.lab.delete(f"rowback-{case}"):
            self.lab.wait_for(f"rowback-{case}", None)
        self.close(writers)

    def reap(self, writers: Writers) -> None:
        """Reap while the case may be paused, beside an instance that looks like its copy and is not."""
        case = self.case()
        if case is None:
            return
        self.lab.disguise(case)
        had = f"rowback-{case}" in self.lab.instances() and not product.planned(self.operator, case).closed
        self.attempt(writers, replace(QUIET, verb="reap"))
        instances = self.lab.instances()
        if had and f"rowback-{case}" not in instances:
            self.broken.append("reap deleted the copy of an open case that has not expired")
        if FOREIGN not in instances:
            self.broken.append("reap deleted an instance that is not rowback's")

    def close(self, writers: Writers) -> None:
        """Give the newest case up, however often that takes."""
        act = replace(QUIET, fault=self.schedule.closing)
        for _ in range(TRIES):
            case = self.case()
            if case is None or product.planned(self.operator, case).closed:
                return
            ended, _ = self.attempt(writers, act)
            self.blame(act, ended)
            if ended.told.code not in (*AGAIN, 0):
                break
            act = QUIET
        self.never_over(act, ended)

    def clear(self, writers: Writers) -> None:
        """Close every case, remove what they left in the database, and see what is left."""
        self.close(writers)
        operators, self.operator = (self.operator, self.second), self.second
        self.close(writers)
        if self.schedule.mode == "beside":
            self.compare_beside(operators)
        for operator in operators:
            self.operator = operator
            if self.schedule.reaps and self.case():
                self.attempt(writers, replace(QUIET, verb="cleanup"))
        self.operator = operators[0]
        for operator in operators:
            product.clean(operator)
            self.broken += leftovers.files_left(operator.home)
        self.broken += self.lab.strange()

    def compare_beside(self, operators: Sequence[Operator]) -> None:
        """What stands beside is what T held, all of it or nothing."""
        then = self.judge.past.at_target
        for operator in operators:
            for case in _cases(operator):
                name = f"recovered_{case.replace('-', '_')}"
                committed = self.settled(product.noted(operator, case).load_intents)
                for table in self.schedule.world.tables if committed else ():
                    beside = table.name if table.schema == "public" else f"{table.schema}.{table.name}"
                    rows = self.app.execute(sql.SQL("select * from {}").format(sql.Identifier(name, beside))).fetchall()
                    held = then.keyed[table.no].values() if table.key else then.loose[table.no].elements()
                    if sorted(map(repr, map(plain, rows))) != sorted(map(repr, held)):
                        self.broken.append(f"beside: {table.name!r} does not hold what T held ({len(rows)} rows)")


def _cases(operator: Operator) -> list[str]:
    """Cases of an operator whose opening is on disk, oldest first."""
    journals = sorted((operator.home / "cases").glob("*/journal.jsonl"))
    return [path.parent.name for path in journals if b"\n" in path.read_bytes()]


def play(lab: LabServer, seed: int, tally: Tally) -> Run:
    """The schedule of a seed, and the removal of what it made."""
    schedule, began = draw_on_lab(seed), time.monotonic()
    home = Path(tempfile.mkdtemp(prefix="rowback-soak-home-"))
    run = LabRun(lab, schedule, home, tally)
    try:
        run.play()
    except (TimeoutError, RowbackError) as error:
        run.broken.append(f"{type(error).__name__}: {error}")
    finally:
        lab.drop(run.place.database)
        shutil.rmtree(home, ignore_errors=True)
    tally.played(schedule, time.monotonic() - began)
    return run
