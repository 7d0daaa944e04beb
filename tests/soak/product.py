"""The product's workflow on two databases of one server: every call of level 2 into the product's inside.

The second database is the copy: made by CREATE DATABASE … TEMPLATE at T, it has the same rows and transaction ids as a
point-in-time restore. What needs RDS is answered by `OneServer`; the steps that prove and secure a copy
are recorded as done. Everything else is the real thing: case, journal, comparison, load, resume, undo, close.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from recovery.aws.instances import Instances
from recovery.compare.scope import ScopeRequest, choose_scope
from recovery.config import Profile
from recovery.errors import RowbackError
from recovery.model.account import Partial
from recovery.model.instance import Endpoint, InstanceFacts
from recovery.model.load_order import load_order
from recovery.model.modes.reload_mode import Mode
from recovery.model.recovery_plan import RecoveryPlan
from recovery.model.recovery_report import Objectives
from recovery.model.repair_plan import Pace, RepairRequest
from recovery.model.values import TableName
from recovery.postgres.before_images import drop_schema, left_schemas
from recovery.postgres.connect import connect, identity_of
from recovery.postgres.connection_target import Target
from recovery.postgres.read_catalog import nonempty, read_catalog
from recovery.reload import paced_load
from recovery.store.case_directory import open_case, read_case, resume_case
from recovery.store.journal import read_records
from recovery.workflow.case_account import account_of
from recovery.workflow.case_lifecycle import diff_again, give_up, run
from recovery.workflow.recovery_run import RecoveryRun
from recovery.workflow.undo_case import undo
from tests.fix_instances import instance
from tests.fix_plan import plan_for
from tests.soak.server import OWNER, Place

SOURCE, COPY_SUFFIX = "soak", "_t"
LOCK_TIMEOUT_MS, LOCK_ATTEMPTS = 1000, 8
PORTION_ROWS = 6


@dataclass(frozen=True)
class AccountLine:
    """One table of rowback's account: rows at T, back, not back, and rows to go that stay."""

    table: str
    at_target: int
    back: int
    not_back: int
    not_deleted: int


@dataclass(frozen=True)
class Told:
    """How an act of an operator ended: exit code, the error's words, and what the case says of itself."""

    code: int
    words: str = ""
    outcome: str = ""
    account: tuple[AccountLine, ...] = ()
    complete: bool = False
    planned_digest: str = ""


@dataclass(frozen=True)
class Operator:
    """Somebody with a state home of their own. `port`: by which the original is reached, past a forwarder or not."""

    home: Path
    place: Place
    port: int
    paced: bool = False

    @property
    def copy(self) -> Place:
        """The database as it was at T."""
        return Place(self.place.port, self.place.database + COPY_SUFFIX)


@dataclass(frozen=True)
class OneServer:
    """What the workflow asks RDS for, answered for an original that is a plain server."""

    operator: Operator
    region: str = "eu-west-1"
    poll_s: float = 0.02

    def get(self, identifier: str) -> InstanceFacts:
        return _facts(identifier, self.operator.port)

    def find(self, identifier: str) -> InstanceFacts | None:
        return self.get(identifier)

    def copies(self) -> list[InstanceFacts]:
        return []

    def wait_ready(self, identifier: str, *, deadline_s: float, watch: Callable[[str, float], None]) -> InstanceFacts:
        return self.get(identifier)

    def delete_copy(self, copy: object, **asked: object) -> bool:
        return True


def _facts(identifier: str, port: int) -> InstanceFacts:
    return instance(
        identifier=identifier,
        resource_id=f"db-{identifier}",
        master_username=OWNER,
        endpoint=Endpoint(host="127.0.0.1", port=port),
    )


class Silent:
    """Nobody watches."""

    def step_started(self, name: str, title: str) -> None: ...
    def progress(self, text: str, seconds: float) -> None: ...
    def notice(self, text: str) -> None: ...
    def step_done(self, name: str, text: str, seconds: float) -> None: ...
    def step_failed(self, name: str, text: str) -> None: ...


@dataclass
class SoakErrand(RecoveryRun):
    """An recovery_run whose copy is the other database."""

    there: Target | None = field(default=None)

    def copy_target(self) -> Target:
        assert self.there
        return self.there


def _target(place: Place, port: int) -> Target:
    return Target(
        label=f"instance '{SOURCE}'",
        endpoint=Endpoint(host="127.0.0.1", port=port),
        database=place.database,
        user=place.user,
        password=place.password,
    )


CREATION = {"nonce": "a1" * 16, "requested_at": "2026-11-22T14:20:00Z", "target_time": "2026-11-22T14:00:00Z"}


def open_recovery(operator: Operator, mode: str, xid: int, boundary: int) -> str:
    """Plan the whole database and open a case whose copy is there; returns its id."""
    os.environ["ROWBACK_HOME"] = str(operator.home)
    plan = _plan(operator, RepairRequest(mode=Mode(mode), incident_xids=(xid,) if mode == "repair" else ()))
    case, journal = open_case(plan, Objectives(), Profile(), approved=False)
    copy = {"identifier": case.copy.identifier, "resource_id": "db-COPY"}
    done: Mapping[str, Mapping[str, Any]] = {
        "check-facts": {},
        "start-copy": copy,
        "await-copy": {"engine_version": "17", "status": "available"},
        "secure-copy": {"subscriptions_disabled": 0, "jobs_stopped": 0, "own_transactions_from": boundary},
    }
    with journal:
        for step, data in done.items():
            journal.append("step.start", step=step, data=CREATION if step == "start-copy" else {})
            journal.append("step.done", step=step, data=data)
        if operator.paced:
            journal.append("load.paced", data=Pace(wal_bytes_per_s=2**30).model_dump())
    return case.id


def _plan(operator: Operator, request: RepairRequest) -> RecoveryPlan:
    with connect(_target(operator.place, operator.place.port)) as live:
        catalog = read_catalog(live)
        holding = nonempty(live, [table.name for table in catalog.tables])
        chosen = choose_scope(catalog, holding, ScopeRequest()).chosen
        order, _ = load_order(chosen, catalog)
        source = _facts(SOURCE, operator.place.port)
        return plan_for(catalog).model_copy(
            update={
                "source": source,
                "database": operator.place.database,
                "identity": identity_of(live),
                "request": request,
                "tables": tuple(chosen[name] for name in order if name in chosen),
                "user": OWNER,
                "lock_timeout_ms": LOCK_TIMEOUT_MS,
                "lock_attempts": LOCK_ATTEMPTS,
            }
        )


@contextmanager
def _errand(operator: Operator, case_id: str) -> Iterator[SoakErrand]:
    os.environ["ROWBACK_HOME"] = str(operator.home)
    # batches of a few rows: their boundaries are what is tested
    paced_load.FIRST_ROWS, paced_load.FEWEST_ROWS, paced_load.MOST_ROWS = PORTION_ROWS, PORTION_ROWS, 2 * PORTION_ROWS
    case, journal = resume_case(case_id)
    recovery_run = SoakErrand(
        case,
        journal,
        cast(Instances, OneServer(operator)),
        Silent(),
        lambda plan: None,
        there=_target(operator.copy, operator.place.port),
    )
    with journal:
        yield recovery_run


def act(operator: Operator, case_id: str, verb: str) -> Told:
    """compare, load (and resume), undo (and redo), undo in part, or close; in this process."""
    try:
        with _errand(operator, case_id) as recovery_run:
            match verb:
                case "compare":
                    _compare(recovery_run)
                case "load":
                    run(recovery_run, until="verify")
                case "undo" | "undo in part":
                    recovery_run.partial = Partial.ACCEPT if verb == "undo in part" else Partial.KEEP_OPEN
                    undo(recovery_run)
                case "close":
                    give_up(recovery_run)
                case _:
                    raise ValueError(verb)
    except RowbackError as error:
        return _told(operator, case_id, error.exit_code, str(error))
    return _told(operator, case_id, 0, "")


def _compare(recovery_run: SoakErrand) -> None:
    if recovery_run.case.outcome_of("diff") is None:
        run(recovery_run, until="diff")
    else:
        diff_again(recovery_run)


def _told(operator: Operator, case_id: str, code: int, words: str) -> Told:
    os.environ["ROWBACK_HOME"] = str(operator.home)
    case = read_case(case_id)
    account = account_of(case)
    plan = case.repair_plan
    lines = tuple(
        AccountLine(
            table.table, table.at_target, table.back, table.not_back, sum(each.rows for each in table.not_deleted)
        )
        for table in account.tables
    )
    return Told(code, words, case.outcome, lines, account.complete, plan.digest if plan else "")


@dataclass(frozen=True)
class Noted:
    """What the journal says: records by event, and the transaction ids that it knew before each commit."""

    events: tuple[str, ...]
    load_intents: tuple[int, ...]
    undo_intents: tuple[int, ...]


def noted(operator: Operator, case_id: str) -> Noted:
    """The journal, read and checked by the product's own reader. Raises RowbackError where the chain is broken."""
    os.environ["ROWBACK_HOME"] = str(operator.home)
    records = read_records(operator.home / "cases" / case_id)
    ids = {
        kind: tuple(xid for record in records if record.event == kind for xid in record.data["xids"])
        for kind in ("load.intent", "undo.intent")
    }
    return Noted(tuple(record.event for record in records), ids["load.intent"], ids["undo.intent"])


def status(operator: Operator, case_id: str) -> str:
    """What a case says of itself, in a few words."""
    told = _told(operator, case_id, 0, "")
    case = read_case(case_id)
    return f"case {case_id}: last step {case.current_step}, {len(told.account)} tables in its account"


def told_of(operator: Operator, case_id: str, code: int, words: str) -> Told:
    """How a command ended, with what its case says of itself. Raises RowbackError where the journal is unreadable."""
    return _told(operator, case_id, code, words)


@dataclass(frozen=True)
class Planned:
    """The repair plan of a case: what apply must be given."""

    digest: str
    loses: int
    closed: bool


def planned(operator: Operator, case_id: str) -> Planned:
    """What was planned last, and whether the case is closed."""
    os.environ["ROWBACK_HOME"] = str(operator.home)
    case = read_case(case_id)
    plan = case.repair_plan
    return Planned(plan.digest if plan else "", plan.loses if plan else 0, case.closed_at is not None)


def clean(operator: Operator) -> list[str]:
    """Remove what cases left in the database; the names of the schemas."""
    with connect(_target(operator.place, operator.place.port)) as live:
        found = left_schemas(live)
        for schema in found:
            drop_schema(live, schema)
    return [schema.name for schema in found]


def printed(schema: str, name: str) -> str:
    """A table's name as the account prints it."""
    return str(TableName(schema_name=schema, name=name))
