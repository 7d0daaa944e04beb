"""The drill: steady state → fault → recovery → steady state, on a lab of its own, checked by other means."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import psycopg
from psycopg import sql

from guards.identity import identify
from recovery.aws.instances import Instances
from recovery.compare.scope import ScopeRequest
from recovery.config import Profile
from recovery.model.plan import Transport
from recovery.model.report import Objectives, Report
from recovery.model.values import Moment, Value
from recovery.workflow.cases import open_case
from recovery.workflow.errand import Errand, Listener
from recovery.workflow.planning import Request, make_plan
from recovery.workflow.reporting import report_of
from recovery.workflow.run import run
from runbooks.lab.background import FAULT, INSTANCE, connect, foreign_variables, furnish_sample, pass_a_second
from runbooks.lab.server import Lab

DATABASE = "docs"
TRUNCATED = ("content.members", "content.spaces")
WRITE_PAUSE_S = 0.02


@dataclass(frozen=True)
class DrillRequest:
    """How big, with which seed, against which objectives, over which transport."""

    articles: int = 2000
    seed: int = 7
    rto_s: int = 300
    rpo_s: int = 60
    transport: Transport = Transport.DUMP


class DrillReport(Value):
    """What the drill measured. `passed` is the exit code."""

    schema_version: Literal[1] = 1
    postgres: str
    rows: int
    fault: str
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
    def within_objectives(self) -> bool:
        """Whether recovery time and data loss met RTO and RPO."""
        rto, rpo = self.objectives.recovery_time_s, self.objectives.data_loss_s
        return (rto is None or self.recovery_time_s <= rto) and (rpo is None or self.data_loss_s <= rpo)

    @property
    def passed(self) -> bool:
        """Rows proven back, nothing else changed, every write of billing kept, nothing left over, in time."""
        kept = self.billing_writes_kept == self.billing_writes_acknowledged > 0
        proven = self.recovery.verification is not None and self.recovery.verification.proven
        return (
            self.restored and proven and self.outside_scope_unchanged and kept
            and not self.leftover_instances and self.within_objectives
        )  # fmt: skip


def perform(request: DrillRequest, listener: Listener) -> DrillReport:
    """Run the whole drill and take the lab down again, whatever happens. Raises RowbackError where rowback does."""
    clock = _Clock(listener)
    with _own_environment():
        with clock.phase("lab", "start a lab: Amazon RDS on this machine"):
            lab = Lab.start()
        with lab:
            with clock.phase("data", "load a documents product and a billing database"):
                password = furnish_sample(lab, articles=request.articles, seed=request.seed)
            os.environ.update({**lab.environment(), "PGPASSWORD": password})
            with connect(lab, password, DATABASE) as docs:
                return _rehearse(lab, password, docs, request, clock)


def _rehearse(
    lab: Lab, password: str, docs: psycopg.Connection[Any], request: DrillRequest, clock: _Clock
) -> DrillReport:
    steady = _digests(docs)
    writer = BillingWriter(lab, password)
    with writer:
        with clock.phase("steady-state", "note every row, let a second pass, keep billing writing"):
            target = pass_a_second()
        with clock.phase("fault", "an integration test runs TRUNCATE … CASCADE on the wrong server"):
            _refuse_foreign_server(lab, docs)
            docs.execute(FAULT)
        fault_at = datetime.now(UTC)
        report = _recover(request, target, clock)
    with clock.phase("steady-state-again", "compare with what was noted, count billing's writes"):
        now = _digests(docs)
        kept = writer.kept()
    scope = {name for name in steady if name.startswith("content.")}
    leftovers = tuple(name for name in lab.engine.instances if name != INSTANCE)
    return DrillReport(
        postgres=lab.engine.tools.version,
        rows=sum(rows for name, (rows, _) in steady.items() if name in scope),
        fault=FAULT,
        fault_at=fault_at,
        target_time=target,
        restored=all(now[name] == steady[name] for name in scope),
        outside_scope_unchanged=all(now[name] == steady[name] for name in steady.keys() - scope),
        billing_writes_acknowledged=len(writer.acknowledged),
        billing_writes_kept=kept,
        leftover_instances=leftovers,
        recovery_time_s=report.recovery_time_s or 0.0,
        data_loss_s=round((fault_at - target).total_seconds(), 3),
        objectives=report.objectives,
        phases_s=clock.phases,
        recovery=report,
    )


def _recover(request: DrillRequest, target: datetime, clock: _Clock) -> Report:
    """The same steps as `rowback restore`: a drill that ran others would measure something else."""
    instances = Instances.connect(None)
    wanted = Request(
        instance=INSTANCE, database=DATABASE, target_time=target, scope=ScopeRequest(tables=TRUNCATED),
        transport=request.transport, profile=Profile(), wait_for_window_s=60.0,
    )  # fmt: skip
    with clock.phase("plan", "plan the recovery"):
        plan = make_plan(wanted, instances, say=lambda text: None)
    objectives = Objectives(recovery_time_s=request.rto_s, data_loss_s=request.rpo_s)
    case, journal = open_case(plan, objectives, wanted.profile)
    with journal:
        run(Errand(case, journal, instances, clock.listener, approve=lambda repair: None))
    return report_of(case)


def _refuse_foreign_server(lab: Lab, docs: psycopg.Connection[Any]) -> None:
    """Nothing destructive before the server itself says that it is the lab's own cluster."""
    with psycopg.connect(lab.engine.instances[INSTANCE].cluster.dsn(DATABASE), autocommit=True) as ours:
        expected, found = identify(ours), identify(docs)
    if expected != found:
        raise RuntimeError(f"the drill's session is on {found}, not on the lab's {expected}")


def _digests(connection: psycopg.Connection[Any]) -> dict[str, tuple[int, str]]:
    """Count and md5 over the sorted text of every table: slow, and not how rowback proves it."""
    tables = connection.execute(
        "select schemaname, tablename from pg_tables where schemaname in ('content', 'ops') order by 1, 2"
    ).fetchall()
    found = {}
    for schema, table in tables:
        row = connection.execute(
            sql.SQL("select count(*), md5(coalesce(string_agg(t::text, '\n' order by t::text), '')) from {} t").format(
                sql.Identifier(schema, table)
            )
        ).fetchone()
        assert row
        found[f"{schema}.{table}"] = (row[0], row[1])
    return found


@contextlib.contextmanager
def _own_environment() -> Iterator[None]:
    """Nothing of the caller's AWS and libpq variables, and cases in a directory that goes away with the drill."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="rowback-drill-") as home:
        try:
            for name in foreign_variables(before):
                del os.environ[name]
            os.environ["ROWBACK_HOME"] = home
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


@dataclass
class BillingWriter:
    """Another team's service: writes invoices all the while and remembers every acknowledged one."""

    lab: Lab
    password: str
    acknowledged: list[int] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> BillingWriter:
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exit: object) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join(30)

    def kept(self) -> int:
        """How many of the acknowledged invoices are there."""
        with connect(self.lab, self.password, "billing") as billing:
            row = billing.execute(
                "select count(*) from invoices where invoice_id = any(%s)", (self.acknowledged,)
            ).fetchone()
        assert row
        return int(row[0])

    def _write(self) -> None:
        with connect(self.lab, self.password, "billing") as billing:
            while not self._stop.wait(WRITE_PAUSE_S):
                row = billing.execute(
                    "insert into invoices (customer_id, cents) values (1, 100) returning invoice_id"
                ).fetchone()
                assert row
                self.acknowledged.append(row[0])


@dataclass
class _Clock:
    """Phase timings, told to whoever watches."""

    listener: Listener
    phases: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def phase(self, name: str, title: str) -> Iterator[None]:
        """Time one phase."""
        self.listener.step_started(name, title)
        began = time.monotonic()
        finished = False
        try:
            yield
            finished = True
        finally:
            if not finished:
                self.listener.step_failed(name, "see below")
        self.phases[name] = round(time.monotonic() - began, 3)
        self.listener.step_done(name, "", self.phases[name])
