"""Runs of runbooks on disk: a journal each, with the text that is run and the output of every step beside it."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recovery import __version__
from recovery.config import state_home
from recovery.errors import ErrorId, RowbackError
from recovery.files import create_private, replace_private
from recovery.model.approval import Approval, Person
from recovery.store.journal import Journal, Record, is_driven, read_records, reading
from recovery.store.journal_directories import directories_in, directory_named, resumed
from runbooks.book.document import Book
from runbooks.book.parse_book import parse, read_book
from runbooks.execution.parameter_values import bound
from runbooks.steps.book_step import RUN_DIR, BookStep, Executed
from runbooks.steps.person_steps import Approve

BOOK = "book.md"
FILES = "files"


@dataclass
class BookStepState:
    """One step of a run.

    `open_since`: it began then, and has neither ended well nor been begun anew: what it does may have happened.
    `child`: the process group it runs in.
    """

    attempts: int = 0
    saved: dict[str, str] | None = None
    failed: str = ""
    skipped: str = ""
    open_since: datetime | None = None
    child: int | None = None
    generation: int = 0  # how often it was begun anew (--from)
    done_before: bool = False  # by an earlier generation
    seconds: float = 0.0
    _began_s: tuple[int, float] | None = None

    @property
    def begun(self) -> bool:
        """Whether it went by the values of its time: not where it is to be done again."""
        return self.saved is not None or self.open_since is not None or bool(self.failed)

    @property
    def over(self) -> bool:
        """Done, or left out with a reason."""
        return self.saved is not None or bool(self.skipped)


@dataclass
class BookRun:
    """The state of a run: a fold over its journal."""

    id: str
    directory: Path
    book: Book
    source: Path
    values: dict[str, str]
    how: Begun
    opened_at: datetime
    steps: dict[str, BookStepState] = field(default_factory=dict)
    approvals: dict[str, list[Approval]] = field(default_factory=dict)
    closed_at: datetime | None = None
    outcome: str = "open"

    def mark(self, id: str, generation: int | None = None) -> str:
        """What commands of a step call themselves, now or when it was begun before."""
        return f"{self.id}/{id}/{self.state(id).generation if generation is None else generation}"

    def state(self, id: str) -> BookStepState:
        """Of one step; a fresh one where it has not begun."""
        return self.steps.setdefault(id, BookStepState())

    @property
    def waiting_at(self) -> str | None:
        """The first step that is not over."""
        return next((step.id for step in self.book.steps if not self.state(step.id).over), None)

    def take(self, record: Record) -> None:
        """Fold one more record in."""
        if record.step:
            self._take_step(record.step, record)
        match record.event:
            case "run.closed":
                self.closed_at, self.outcome = record.at, record.data["outcome"]
            case "run.rebased":
                self.book = parse(self.book.name, record.data["text"])[0]
                self.values |= record.data.get("values", {})
                self.approvals.clear()  # they were of another text
                for step in self.book.steps:
                    if isinstance(step, Approve):
                        self.steps.pop(step.id, None)
            case "step.approved":
                approved = Approval.model_validate(record.data)
                self.approvals.setdefault(str(record.step), []).append(approved)

    def _take_step(self, id: str, record: Record) -> None:
        state = self.state(id)
        match record.event:
            case "step.start":
                state.attempts += 1
                state.failed, state.open_since = "", state.open_since or record.at
                state._began_s = (record.pid, record.clock_s)
            case "step.child":
                state.child = int(record.data["pid"])
            case "step.done":
                self._ended(state, record)
                state.open_since, state.child = None, None
                state.saved = dict(record.data["saved"])
                self.values |= state.saved
            case "step.failed":
                self._ended(state, record)
                # what was cut off did not fail: nobody knows what it did
                state.failed = "" if record.data.get("cut_off") else record.data["error"]
            case "step.skipped":
                state.skipped, state.open_since = record.data["reason"], None
            case "step.again":
                state.generation += 1
                self.approvals.pop(id, None)
                state.done_before = state.done_before or state.saved is not None
                state.saved, state.skipped, state.failed = None, "", ""
                state.open_since, state.child = None, None

    @staticmethod
    def _ended(state: BookStepState, record: Record) -> None:
        if state._began_s and state._began_s[0] == record.pid:
            state.seconds += record.clock_s - state._began_s[1]
        state._began_s = None


def runs_directory() -> Path:
    """Where runs live."""
    return state_home() / "runs"


@dataclass(frozen=True)
class Begun:
    """How a run is begun, and gone on with: its mode, its profile, the answers given and the manual steps looked at."""

    mode: str
    opener: Person
    profile: str | None = None
    answers: Mapping[str, str] = field(default_factory=dict)
    confirmed: tuple[str, ...] = ()


def open_run(source: Path, book: Book, values: Mapping[str, str], how: Begun) -> tuple[BookRun, Journal]:
    """A new run with its own copy of the book."""
    id = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    journal = Journal.create(runs_directory() / id)
    create_private(journal.directory / BOOK, book.text.encode())
    (journal.directory / FILES).mkdir()
    journal.append(
        "run.opened",
        data={
            "schema_version": 1,
            "tool_version": __version__,
            "book": book.name,
            "digest": book.digest,
            "source": str(source.resolve()),
            "values": dict(values),
            "mode": how.mode,
            "opener": how.opener.model_dump(),
            "profile": how.profile,
            "answers": dict(how.answers),
            "confirmed": list(how.confirmed),
        },
    )
    return fold(journal.directory, journal.records), journal


def resume_run(text: str) -> tuple[BookRun, Journal]:
    """An existing run, locked for this process. Raises case-busy, case-unknown."""
    return resumed(find_run(text), fold)


def read_run(text: str) -> BookRun:
    """A run to look at; takes no lock."""
    directory = find_run(text)
    return fold(directory, read_records(directory))


def all_runs() -> list[tuple[BookRun, bool]]:
    """Every readable run, oldest first, and whether a process drives it."""
    runs = []
    for path in directories_in(runs_directory()):
        with suppress(RowbackError):
            runs.append((fold(path, read_records(path, proven=True)), is_driven(path)))
    return runs


def unreadable_runs() -> list[tuple[str, str]]:
    """Every run that cannot be read, and why."""
    unreadable = []
    for path in directories_in(runs_directory()):
        try:
            fold(path, read_records(path, proven=True))
        except RowbackError as error:
            unreadable.append((path.name, error.fact))
    return unreadable


def find_run(text: str) -> Path:
    """The directory of the run whose id is `text` or ends with it. Raises case-unknown."""
    return directory_named(text, runs_directory(), what="run", listing="rowback runbook runs")


def fold(directory: Path, records: Sequence[Record]) -> BookRun:
    """The state that `records` amount to. Raises plan-unreadable when they do not begin with an opened run."""
    first = records[0] if records else None
    if first is None or first.event != "run.opened" or first.data.get("schema_version") != 1:
        raise RowbackError(
            ErrorId.PLAN_UNREADABLE,
            f"run '{directory.name}' was not opened by this version of rowback",
            state="nothing was done",
            help="use the version that opened it",
        )
    with reading(directory):
        run = _opened(directory, first)
        written, digest = run.book, first.data["digest"]
        for record in records[1:]:
            run.take(record)
            digest = record.data["digest"] if record.event == "run.rebased" else digest
    if not run.book.digest == written.digest == digest:
        raise RowbackError(
            ErrorId.BOOK_CHANGED,
            f"{directory / BOOK}, the text that run {run.id} goes by, was altered",
            state="nothing was done",
            help="begin a new run: rowback runbook run",
        )
    return run


def _opened(directory: Path, first: Record) -> BookRun:
    fields: dict[str, Any] = first.data
    how = Begun(
        fields["mode"],
        Person.model_validate(fields["opener"]),
        fields.get("profile"),
        fields.get("answers", {}),
        tuple(fields.get("confirmed", ())),
    )
    return BookRun(
        id=directory.name,
        directory=directory,
        book=parse(fields["book"], _own_text(directory))[0],
        source=Path(fields["source"]),
        how=how,
        opened_at=first.at,
        values={RUN_DIR: str(directory / FILES), **fields["values"]},
    )


def _own_text(directory: Path) -> str:
    try:
        return (directory / BOOK).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise RowbackError(
            ErrorId.BOOK_CHANGED,
            f"{directory / BOOK}, the text that run {directory.name} goes by, cannot be read: {error}",
            state="nothing was done",
            help="begin a new run: rowback runbook run",
        ) from error


def refuse_changed(run: BookRun) -> None:
    """Raises book-changed when the book's file is no longer the text that the run goes by."""
    if not run.source.exists():
        return
    now = read_book(run.source)
    if now.digest != run.book.digest:
        raise RowbackError(
            ErrorId.BOOK_CHANGED,
            f"{run.source} was changed since run {run.id} began",
            f"the run keeps to its own copy: {run.directory / BOOK}",
            state="nothing was done",
            help=f"go on by the new text: rowback runbook resume {run.id} --rebase; or undo the change",
        )


def rebased(run: BookRun) -> Book:
    """The text as it is now. Raises book-changed where it lacks a step that is done, or goes round an approval."""
    now = read_book(run.source)
    missing = [id for id, state in run.steps.items() if (state.over or state.attempts) and now.step(id) is None]
    missing += [step.id for step in run.book.steps if isinstance(step, Approve) and _gone_round(step, run.book, now)]
    if missing:
        raise RowbackError(
            ErrorId.BOOK_CHANGED,
            f"the new text has no step '{missing[0]}', which run {run.id} has done or waits for",
            "or it is no approval any more, or what waited for it stands before it",
            state="nothing was done",
            help="keep the ids of steps that are done, and approvals; or begin a new run",
        )
    if unknown := [each for each in now.parameters if each.variable not in run.values and each.default is None]:
        raise RowbackError(
            ErrorId.BOOK_CHANGED,
            f"the new text has a parameter '{unknown[0].name}', which run {run.id} was not told",
            state="nothing was done",
            help="give it a default; or begin a new run",
        )
    return now


def _gone_round(gate: Approve, old: Book, now: Book) -> bool:
    """Whether an approval is missing, or no approval any more, or no longer before what it stood before."""
    if not isinstance(now.step(gate.id), Approve):
        return True
    early = set(itertools.takewhile(lambda id: id != gate.id, (step.id for step in old.steps)))
    before = itertools.takewhile(lambda step: step.id != gate.id, now.steps)
    return any(step.id not in early and (old.step(step.id) or _writes(step)) for step in before)


def _writes(step: BookStep) -> bool:
    return isinstance(step, Executed) and not step.effects.reads


def rebase(run: BookRun, journal: Journal, now: Book) -> None:
    """Go on by the text as it is `now`. Steps are known by their ids: what is done stays done."""
    values = {
        each.variable: bound(each, each.default)
        for each in now.parameters
        if each.variable not in run.values and each.default is not None
    }
    replace_private(run.directory / BOOK, now.text.encode())
    run.take(journal.append("run.rebased", data={"digest": now.digest, "text": now.text, "values": values}))
