"""Cases on disk, and what a case's journal amounts to: a fold over its records."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recovery import __version__
from recovery.config import Profile, state_home
from recovery.errors import ErrorId, RowbackError
from recovery.model.approval import Person
from recovery.model.deletion import Copy, CreationRequest
from recovery.model.plan_options import command_for
from recovery.model.recovery_plan import RecoveryPlan
from recovery.model.recovery_report import Objectives, Outcome
from recovery.model.repair_plan import Pace, RepairPlan, RepairRequest
from recovery.store.journal import Journal, Record, is_driven, read_records, reading
from recovery.store.journal_directories import directories_in, directory_named, resumed

RUN_VARIABLE = "ROWBACK_RUN"  # a runbook's step tells the commands it runs who they are for

# What starts programs, or tells whom, is read from this user's configuration each time, never from a case.
FROM_CONFIGURATION = {"notify", "tunnel"}


@dataclass
class StepState:
    """One step of a case, folded from its records.

    Attempts that began, what was recorded before the last of them, what it ended in, and how long that took.
    """

    attempts: int = 0
    intent: dict[str, Any] = field(default_factory=dict)
    done: dict[str, Any] | None = None
    failed: str | None = None
    seconds: float = 0.0
    done_at: datetime | None = None
    _started: tuple[int, float] | None = None


@dataclass
class Case:
    """The state of a case."""

    id: str
    directory: Path
    plan: RecoveryPlan
    objectives: Objectives
    profile: Profile
    opened_at: datetime
    plan_approved: bool
    opener: Person | None = None
    run: str | None = None
    steps: dict[str, StepState] = field(default_factory=dict)
    notes: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    stops: list[str] = field(default_factory=list)
    closed_at: datetime | None = None
    outcome: Outcome = "open"
    load_unsettled: bool = False
    through_tunnel: bool = False

    @property
    def copy(self) -> Copy:
        """The copy, as far as the journal proves it."""
        started = self.steps.get("start-copy", StepState())
        creation = CreationRequest.model_validate(started.intent) if started.intent else None
        resource_id = started.done["resource_id"] if started.done else None
        return Copy(
            case=self.id, source_resource_id=self.plan.source.resource_id, resource_id=resource_id, creation=creation
        )

    @property
    def current_step(self) -> str | None:
        """The step that began last and has not ended, or the last one that ended."""
        return next(reversed(self.steps), None)

    def outcome_of(self, step: str) -> dict[str, Any] | None:
        """What a finished step left behind, or None while it has not finished."""
        state = self.steps.get(step)
        return state.done if state else None

    def noted(self, event: str) -> list[dict[str, Any]]:
        """The data of all records of one kind, oldest first."""
        return self.notes.get(event, [])

    @property
    def request(self) -> RepairRequest:
        """How differing rows are to be treated: as asked last, or as planned."""
        requests = self.noted("repair.asked")
        return RepairRequest.model_validate(requests[-1]) if requests else self.plan.request

    @property
    def repair_plan(self) -> RepairPlan | None:
        """The repair plan of the last diff."""
        outcome = self.outcome_of("diff")
        return RepairPlan.model_validate(outcome["repair"]) if outcome else None

    @property
    def approved(self) -> set[str]:
        """Digests of the repair plans that were approved."""
        return {note["digest"] for note in self.noted("repair.approved")}

    def changes_path(self, number: int) -> Path:
        """The change set with this number."""
        return self.directory / f"changes-{number}.sqlite"

    def new_number(self) -> int:
        """A number no change set of this case has had."""
        return len(self.noted("changes.begun")) + 1

    def restore_command(self, *options: str) -> str:
        """The command that restores the same database as of the same T anew, once this case is closed."""
        return command_for("restore", self.plan, *options)

    @property
    def taken_back(self) -> bool:
        """Whether the last write of the case was an undo (not an undo of one)."""
        return len(self.noted("undo.done")) % 2 == 1

    @property
    def wrote_to_original(self) -> bool:
        """Whether the load, or a batch of it, is known to have committed."""
        return self.load_done or bool(self.noted("load.portion"))

    @property
    def load_done(self) -> bool:
        """Whether the load is over: nothing more will be written but by an undo."""
        return self.outcome_of("load") is not None

    @property
    def pace(self) -> Pace | None:
        """How fast rows may come back, as asked last; None for as fast as they can."""
        paces = self.noted("load.paced")
        return Pace.model_validate(paces[-1]) if paces and paces[-1] else None

    def take(self, record: Record) -> None:
        """Fold one more record in."""
        if record.step:
            self._take_step(record)
        match record.event:
            case "case.closed":
                self.closed_at, self.outcome = record.at, record.data["outcome"]
            case "load.intent":
                self.load_unsettled = True
            case "load.portion":
                self.load_unsettled = False
            case "step.start" | "step.done" if record.step == "load":
                self.load_unsettled = False
            case "case.stopped":
                self.stops.append(record.data["why"])
        self.notes.setdefault(record.event, []).append(record.data)

    def _take_step(self, record: Record) -> None:
        assert record.step
        step = self.steps.setdefault(record.step, StepState())
        match record.event:
            case "step.start":
                step.attempts += 1
                step.intent = record.data
                step.failed = None
                step._started = (record.pid, record.clock_s)
            case "step.done" | "step.failed":
                if step._started and step._started[0] == record.pid:
                    step.seconds += record.clock_s - step._started[1]
                step._started = None
                if record.event == "step.done":
                    step.done, step.done_at = record.data, record.at
                else:
                    step.failed = record.data["error"]


def cases_directory() -> Path:
    """Where cases live."""
    return state_home() / "cases"


def open_case(
    plan: RecoveryPlan, objectives: Objectives, profile: Profile, *, approved: bool, opener: Person | None = None
) -> tuple[Case, Journal]:
    """A new case. Raises case-open where another one for the database is open here, and what cannot be written.

    `approved`: the plan was read, and it was agreed that the tables it names as empty are loaded. `opener`: who that
    is, where others have to approve.
    """
    if error := second_case(plan):
        raise error
    id = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    journal = Journal.create(cases_directory() / id)
    journal.append(
        "case.opened",
        data={
            "schema_version": 1,
            "tool_version": __version__,
            "plan_digest": plan.digest,
            "plan": plan.model_dump(mode="json"),
            "objectives": objectives.model_dump(mode="json"),
            "profile": profile.model_dump(mode="json", exclude=FROM_CONFIGURATION),
            "through_tunnel": bool(profile.tunnel),
            "approved": approved,
            "opener": opener.model_dump(mode="json") if opener else None,
            "run": os.environ.get(RUN_VARIABLE),
        },
    )
    return fold(journal.directory, journal.records), journal


def second_case(plan: RecoveryPlan) -> RowbackError | None:
    """The refusal (case-open) where another open case here works on the plan's database; None: there is none."""
    for other in all_cases():
        same = other.plan.identity.system_identifier == plan.identity.system_identifier
        if other.closed_at is None and same and other.plan.database == plan.database:
            driven = "is being driven by another process" if is_driven(other.directory) else "is paused"
            return RowbackError(
                ErrorId.CASE_OPEN,
                f"case {other.id} for database '{plan.database}' of '{plan.source.identifier}' {driven}",
                state="no second case was opened, nothing was created",
                help=f"continue it: rowback resume {other.id}; or give it up: rowback close {other.id}",
            )
    return None


def resume_case(text: str) -> tuple[Case, Journal]:
    """An existing case, locked for this process. Raises case-busy, case-unknown."""
    return resumed(find_case(text), fold)


def read_case(text: str) -> Case:
    """A case to look at; takes no lock."""
    directory = find_case(text)
    return fold(directory, read_records(directory))


def all_cases() -> list[Case]:
    """Every case that this user's rowback wrote and this version can read, oldest first; see unreadable_cases."""
    return [case for path in directories_in(cases_directory()) if (case := _readable(path))]


def earlier_repairs(case: Case) -> list[Case]:
    """Other cases of the same database that wrote rows, the latest first."""
    return [
        other
        for other in reversed(all_cases())
        if other.id != case.id
        and other.wrote_to_original
        and other.repair_plan
        and other.plan.source.resource_id == case.plan.source.resource_id
        and other.plan.database == case.plan.database
    ]


def find_case(text: str) -> Path:
    """The directory of the case whose id is `text` or ends with it. Raises case-unknown."""
    return directory_named(text, cases_directory(), what="case", listing="rowback cases")


def fold(directory: Path, records: Iterable[Record]) -> Case:
    """The state that `records` amount to. Raises plan-unreadable when they do not begin with an opened case."""
    all_records = list(records)
    first = all_records[0] if all_records else None
    if first is None or first.event != "case.opened" or first.data.get("schema_version") != 1:
        raise _of_another_version(directory)
    with reading(directory):
        case = _opened(directory, first)
        for record in all_records[1:]:
            case.take(record)
    return case


def _opened(directory: Path, first: Record) -> Case:
    return Case(
        id=directory.name,
        directory=directory,
        plan=RecoveryPlan.model_validate(first.data["plan"]),
        objectives=Objectives.model_validate(first.data["objectives"]),
        profile=Profile.model_validate({**first.data["profile"], **dict.fromkeys(FROM_CONFIGURATION, ())}),
        opened_at=first.at,
        plan_approved=first.data.get("approved") is True,
        opener=Person.model_validate(first.data["opener"]) if first.data.get("opener") else None,
        run=first.data.get("run"),
        through_tunnel=first.data.get("through_tunnel") is True,
    )


def unreadable_cases() -> list[tuple[str, str]]:
    """Cases that all_cases leaves out, with the reason: they are never passed over in silence."""
    reasons = []
    for path in directories_in(cases_directory()):
        try:
            if records := read_records(path, proven=True):
                fold(path, records)
        except RowbackError as error:
            reasons.append((path.name, error.fact))
    return reasons


def _of_another_version(directory: Path) -> RowbackError:
    return RowbackError(
        ErrorId.PLAN_UNREADABLE,
        f"case '{directory.name}' was not opened by this version of rowback",
        state="nothing was done",
        help="use the version that opened it",
    )


def _readable(directory: Path) -> Case | None:
    try:
        records = read_records(directory, proven=True)
        return fold(directory, records) if records else None
    except RowbackError:
        return None
