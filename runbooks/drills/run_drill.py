"""The drill: steady state → fault → recovery → steady state, on a lab of its own, checked by other means."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import psycopg
from psycopg import sql

from guards.server_identity import identify
from recovery import __version__
from recovery.aws.instances import Instances
from recovery.compare.scope import ScopeRequest
from recovery.config import Profile
from recovery.incident.rank_suspects import Question
from recovery.investigation.find_incident import Search, find
from recovery.model.modes import MODES
from recovery.model.modes.reload_mode import IncidentNeed, Mode
from recovery.model.recovery_plan import Transport
from recovery.model.recovery_report import Objectives, Report
from recovery.model.repair_plan import RepairRequest
from recovery.model.values import Moment, Value
from recovery.planning.check_request import Request
from recovery.planning.make_plan import make_plan
from recovery.store.case_directory import open_case
from recovery.store.drill_history import DrillRecord
from recovery.workflow.case_lifecycle import run
from recovery.workflow.case_report import report_of
from recovery.workflow.recovery_run import Listener, RecoveryRun
from runbooks.book.parse_book import find_book, read_book
from runbooks.drills.book_drill import answers, recover_by_book
from runbooks.drills.bystander_service import BillingWriter
from runbooks.drills.datasets import Dataset, Fault, FaultKind
from runbooks.drills.drill_measures import PhaseClock, digests
from runbooks.lab.background import INSTANCE, MASTER, connect, foreign_variables, log_everything, pass_a_second
from runbooks.lab.lab_server import Lab
from runbooks.lab.sample_data import load_billing
from runbooks.processes import runs

HOME_PREFIX = "rowback-drill-home-"

REFERENCE = "without_the_incident"


@dataclass(frozen=True)
class DrillRequest:
    """What is broken and how, against which objectives, over which transport."""

    dataset: Dataset
    fault: FaultKind = FaultKind.TRUNCATE
    seed: int = 7
    rto_s: int = 300
    rpo_s: int = 60
    transport: Transport = Transport.DUMP
    find: bool = False  # nobody tells rowback what happened and when: the log has to
    book: str | None = None  # the runbook that is followed instead of the plain recovery

    @property
    def labels(self) -> tuple[str, str]:
        """What is drilled, and the fault in words."""
        return "lab", "; ".join(self.dataset.faults[self.fault].statements)


class DrillReport(Value):
    """What the drill measured. `passed` is the exit code."""

    schema_version: Literal[1] = 1
    target: str = "lab"  # or the instance whose restored copy was broken
    postgres: str
    dataset: str
    rows: int
    fault: str
    mode: Mode
    fault_at: Moment
    target_time: Moment
    restored: bool
    outside_scope_unchanged: bool
    billing_writes_acknowledged: int
    billing_writes_kept: int
    leftover_instances: tuple[str, ...]
    recovery_time_s: float
    data_loss_s: float
    objectives: Objectives
    phases_s: dict[str, float]
    recovery: Report

    @property
    def broken(self) -> str:
        """What was broken, in words."""
        on_lab = self.target == "lab"
        return f"data set {self.dataset}" if on_lab else f"a restored copy of '{self.target}', database {self.dataset}"

    @property
    def measure(self) -> str:
        """What the rows that came back were compared with."""
        return "a world without the incident" if self.target == "lab" else "those before it"

    @property
    def within_objectives(self) -> bool:
        """Whether recovery time and data loss met RTO and RPO."""
        rto, rpo = self.objectives.recovery_time_s, self.objectives.data_loss_s
        return (rto is None or self.recovery_time_s <= rto) and (rpo is None or self.data_loss_s <= rpo)

    @property
    def passed(self) -> bool:
        """Rows proven back, nothing else changed, every write of billing kept, nothing left over, in time."""
        billing_whole = self.billing_writes_kept == self.billing_writes_acknowledged
        billing_whole = billing_whole and (self.billing_writes_acknowledged > 0 or self.target != "lab")
        proven = self.recovery.verification is not None and self.recovery.verification.proven
        return (
            self.restored
            and proven
            and self.outside_scope_unchanged
            and billing_whole
            and not self.leftover_instances
            and self.within_objectives
        )


def record_of(report: DrillReport) -> DrillRecord:
    """What this machine remembers of a drill."""
    return DrillRecord(
        at=report.fault_at,
        target=report.target,
        fault=report.fault,
        passed=report.passed,
        recovery_time_s=report.recovery_time_s,
        data_loss_s=report.data_loss_s,
        objectives=report.objectives,
        phases_s=report.phases_s,
        rows=report.rows,
        tool_version=report.recovery.tool_version,
    )


def failed(target: str, fault: str, objectives: Objectives) -> DrillRecord:
    """What this machine remembers of a drill that ended in an error: nothing was measured, and it did not pass."""
    return DrillRecord(
        at=datetime.now(UTC),
        target=target,
        fault=fault,
        passed=False,
        recovery_time_s=None,
        data_loss_s=None,
        phases_s={},
        rows=0,
        tool_version=__version__,
        objectives=objectives,
    )


def perform(request: DrillRequest, listener: Listener) -> DrillReport:
    """Run the whole drill and take the lab down again, whatever happens. Raises RowbackError where rowback does."""
    clock = PhaseClock(listener)
    with _own_environment():
        with clock.phase("lab", "start a lab: Amazon RDS on this machine"):
            lab = Lab.start()
        with lab:
            with clock.phase("data", "load a documents product and a billing database"):
                password = _furnish(lab, request)
            os.environ.update({**lab.environment(), "PGPASSWORD": password})
            return _rehearse(lab, password, request, clock)


def _furnish(lab: Lab, request: DrillRequest) -> str:
    """The instance with the data set, another team's database, and the world in which the incident never happens."""
    dataset = request.dataset
    password = lab.create_instance(INSTANCE, master=MASTER, DBName=dataset.database, PubliclyAccessible=False)
    with connect(lab, password, dataset.database) as connection:
        dataset.load(connection)
        connection.execute("create database billing")
    with connect(lab, password, "billing") as connection:
        load_billing(connection, customers=100, seed=request.seed)
        connection.execute(
            sql.SQL("create database {} template {}").format(
                sql.Identifier(REFERENCE), sql.Identifier(dataset.database)
            )
        )
    if request.find or request.book:
        log_everything(lab)
    return password


def _rehearse(lab: Lab, password: str, request: DrillRequest, clock: PhaseClock) -> DrillReport:
    dataset, fault = request.dataset, request.dataset.faults[request.fault]
    writer = BillingWriter(lab, password)
    with writer, connect(lab, password, dataset.database) as live:
        with clock.phase("steady-state", "let a second pass, keep billing writing"):
            target = pass_a_second()
        with clock.phase("fault", fault.summary):
            _refuse_foreign_server(lab, live, dataset.database)
            xid = _break(live, fault)
        fault_at = datetime.now(UTC)
        good = dataset.good if fault.writers_go_on else ()
        outside = _write_on(lab, password, live, dataset, good)
        incident = _find(request, clock) if request.find else _Incident(target, fault.tables, (xid,))
        report = _by_book(request, incident, clock) if request.book else _recover(request, incident, clock)
        with clock.phase("steady-state-again", "compare with a world without the incident, count billing's writes"):
            now = digests(live)
            with connect(lab, password, REFERENCE) as reference:
                expected = _inside(digests(reference), dataset)
    return DrillReport(
        postgres=lab.engine.tools.version,
        dataset=dataset.name,
        rows=sum(rows for rows, _ in expected.values()),
        fault="; ".join(fault.statements),
        mode=fault.mode,
        fault_at=fault_at,
        target_time=incident.target,
        restored=_inside(now, dataset) == expected,
        outside_scope_unchanged={name: now[name] for name in outside} == outside,
        billing_writes_acknowledged=len(writer.acknowledged),
        billing_writes_kept=writer.kept(),
        leftover_instances=tuple(name for name in lab.engine.instances if name != INSTANCE),
        recovery_time_s=report.recovery_time_s or 0.0,
        data_loss_s=round((fault_at - incident.target).total_seconds(), 3),
        objectives=Objectives(recovery_time_s=request.rto_s, data_loss_s=request.rpo_s),
        phases_s=clock.phases,
        recovery=report,
    )


def _break(live: psycopg.Connection[Any], fault: Fault) -> int:
    """The incident, in one transaction; the id its rows carry, as a log would tell it."""
    with live.transaction():
        for statement in fault.statements:
            live.execute(statement)
        row = live.execute("select pg_current_xact_id()::text::bigint % 4294967296").fetchone()
    assert row
    return int(row[0])


def _write_on(
    lab: Lab, password: str, live: psycopg.Connection[Any], dataset: Dataset, good: tuple[str, ...]
) -> dict[str, tuple[int, str]]:
    """What the users write after the incident, here and in the world without one; all that lies outside the schema."""
    with connect(lab, password, REFERENCE) as reference:
        for statement in good:
            live.execute(statement)
            reference.execute(statement)
    by_table = digests(live)
    return {name: by_table[name] for name in by_table.keys() - _inside(by_table, dataset).keys()}


def _inside(digests: dict[str, tuple[int, str]], dataset: Dataset) -> dict[str, tuple[int, str]]:
    return {name: digest for name, digest in digests.items() if name.startswith(f"{dataset.schema}.")}


@dataclass(frozen=True)
class _Incident:
    """What is passed to the recovery about the incident."""

    target: datetime
    tables: tuple[str, ...]
    xids: tuple[int, ...]


def _find(request: DrillRequest, clock: PhaseClock) -> _Incident:
    """What `rowback find` makes of the log, asked only for the database. Raises RuntimeError when that is nothing."""
    with clock.phase("find", "find out what happened from the log"):
        now = datetime.now(UTC)
        search = Search(
            INSTANCE, now - timedelta(minutes=10), now, Question(database=request.dataset.database), Profile()
        )
        proposal = find(search, lambda text: None).proposal
    if proposal is None:
        raise RuntimeError("rowback find proposes no target time for the drill's own incident")
    return _Incident(proposal.target_time, proposal.tables, proposal.incident_xids)


def _recover(request: DrillRequest, incident: _Incident, clock: PhaseClock) -> Report:
    """The same steps as `rowback restore`: a drill that ran others would measure something else."""
    instances, fault = Instances.connect(None), request.dataset.faults[request.fault]
    needed = MODES[fault.mode].incident is IncidentNeed.REQUIRED
    repair = RepairRequest(mode=fault.mode, incident_xids=incident.xids if needed else ())
    restore = Request(
        instance=INSTANCE,
        database=request.dataset.database,
        target_time=incident.target,
        scope=ScopeRequest(tables=incident.tables),
        transport=request.transport,
        profile=Profile(),
        wait_for_window_s=60.0,
        repair=repair,
    )
    with clock.phase("plan", "plan the recovery"):
        plan = make_plan(restore, instances, say=lambda text: None)
    objectives = Objectives(recovery_time_s=request.rto_s, data_loss_s=request.rpo_s)
    case, journal = open_case(plan, objectives, restore.profile, approved=True)
    with journal:
        run(RecoveryRun(case, journal, instances, clock.listener, approver=lambda repair: None))
    return report_of(case)


def _by_book(request: DrillRequest, incident: _Incident, clock: PhaseClock) -> Report:
    assert request.book
    database = request.dataset.database
    values = answers(
        read_book(find_book(request.book)), INSTANCE, database, (incident.target, incident.tables, incident.xids)
    )
    with clock.phase("runbook", f"follow runbook '{request.book}'"):
        return recover_by_book(request.book, values, clock.listener)


def _refuse_foreign_server(lab: Lab, live: psycopg.Connection[Any], database: str) -> None:
    """Nothing destructive before the server itself says that it is the lab's own cluster."""
    with psycopg.connect(lab.engine.instances[INSTANCE].cluster.dsn(database), autocommit=True) as ours:
        expected, identity = identify(ours), identify(live)
    if expected != identity:
        raise RuntimeError(f"the drill's session is on {identity}, not on the lab's {expected}")


def sweep_homes() -> None:
    """Remove what drills left behind that were killed: their cases go with their labs."""
    for home in Path(tempfile.gettempdir()).glob(f"{HOME_PREFIX}*"):
        try:
            owned = home.lstat().st_uid == os.geteuid()
            dead = not runs(int((home / "pid").read_text()))
        except (OSError, ValueError):
            continue
        if owned and dead:
            shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def _own_environment() -> Iterator[None]:
    """Nothing of the caller's AWS and libpq variables, and cases in a directory that goes away with the drill."""
    sweep_homes()
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix=HOME_PREFIX) as home:
        (Path(home) / "pid").write_text(str(os.getpid()))
        try:
            for name in foreign_variables(before):
                del os.environ[name]
            os.environ["ROWBACK_HOME"] = home
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)
