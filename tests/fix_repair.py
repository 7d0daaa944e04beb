"""T and now side by side without a restore: the copy is made by CREATE DATABASE … TEMPLATE.

That is a physical copy with the same transaction ids and table oids, as a point-in-time restore is, in milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from recovery.changeset.change_set import ChangeSet
from recovery.changeset.row_change import Change
from recovery.compare.edited_csv import parse_decisions
from recovery.compare.inquiry import Inquiry
from recovery.compare.make_repair_plan import make_repair_plan
from recovery.compare.scope import ScopeRequest, choose_scope
from recovery.model.recovery_plan import PlannedTable
from recovery.model.recovery_report import Verification
from recovery.model.repair_plan import Pace, RepairPlan, RepairRequest
from recovery.model.row_class import RowClass
from recovery.postgres.comparison.table_scan import Ask, stream
from recovery.postgres.connect import Session, connect
from recovery.postgres.read_catalog import nonempty, read_catalog
from recovery.reload.load_job import AtTarget, Job, Loaded, Repair
from recovery.reload.load_transaction import load
from recovery.reload.paced_load import LoadListener, load_paced
from recovery.reload.reverse_load import invert, plan_undo
from recovery.reload.verify_after_commit import verify
from recovery.reload.wal_pace import WalPace
from tests.fix_lab import Database, Live
from tests.fix_plan import plan_for

SCHEMA = "rowback_case_test"


@dataclass
class Times:
    """A database now, the same at T, and what was planned and done about the difference."""

    now: Database
    then: Database
    home: Path
    boundary: int
    plans: list[RepairPlan] = field(default_factory=list)
    done: list[Loaded] = field(default_factory=list)
    _between: Callable[[Loaded], None] = lambda done: None
    _all_or_nothing: bool = False

    @contextmanager
    def sessions(self) -> Iterator[tuple[Session, Session]]:
        with connect(self.now.target()) as live, connect(self.then.target()) as copy:
            yield live, copy

    def changes(self, number: int) -> ChangeSet:
        return ChangeSet(self.home / f"changes-{number}.sqlite")

    def diff(
        self,
        *tables: str,
        where: str | None = None,
        lineage: bool = True,
        decisions_text: str = "",
        ask: Ask = stream,
        **request: Any,
    ) -> RepairPlan:
        """Compare `tables` (default: all) as rows, whether empty or not."""
        number = len(self.plans) + 1
        with self.sessions() as (live, copy), self.changes(number) as changes:
            catalog = read_catalog(live)
            filled = nonempty(live, [t.name for t in catalog.tables if t.readable and not t.row_security])
            scope = choose_scope(catalog, filled, ScopeRequest(tables=tables)).chosen.values()
            planned = tuple(PlannedTable(**{**table.__dict__, "empty": False}) for table in scope)
            plan = plan_for(catalog).model_copy(update={"tables": planned, "where": where})
            boundary = self.boundary if lineage else None
            inquiry = Inquiry(
                "case",
                plan,
                RepairRequest(**request),
                [],
                number,
                boundary,
                parse_decisions(decisions_text) if decisions_text else [],
            )
            self.plans.append(make_repair_plan(live, copy, inquiry, changes, ask=ask))
        return self.plans[-1]

    def apply(
        self,
        *,
        rate: int | None = None,
        between: Callable[[Loaded], None] = lambda done: None,
        all_or_nothing: bool = False,
    ) -> Verification:
        """Write what the last diff planned, and prove it; with a rate in batches, and `between` after each of them."""
        self._between, self._all_or_nothing = between, all_or_nothing
        with self.sessions() as (live, copy):
            truth = AtTarget(fingerprints={}, sequences=read_catalog(copy).sequences, oldest_version_num=150000)
            return self._load(live, truth, self.plans[-1], rate, copy)

    def undo(self) -> Verification:
        """Take the last write back."""
        last, number = self.done[-1], len(self.plans) + 1
        assert last.number
        with self.sessions() as (live, _), self.changes(last.number) as source, self.changes(number) as turned:
            catalog = read_catalog(live)
            invert(live, catalog, last, source, turned)
            self.plans.append(plan_undo(live, catalog, turned, case="case", number=number, request=RepairRequest()))
        with self.sessions() as (live, _):
            here = AtTarget(fingerprints={}, sequences=read_catalog(live).sequences, oldest_version_num=150000)
            return self._load(live, here, self.plans[-1])

    def rows_of(self, kind: RowClass) -> list[Change]:
        """What the last diff put into one class."""
        with self.changes(len(self.plans)) as changes:
            return list(changes.changes(kinds=[kind]))

    def skipped(self) -> list[str]:
        """Why the last write left planned rows alone."""
        with self.changes(len(self.plans)) as changes:
            return [why for xid in self.done[-1].xids for why in changes.skipped(xid).values()]

    def _load(
        self,
        live: Session,
        truth: AtTarget,
        plan: RepairPlan,
        rate: int | None = None,
        copy: Session | None = None,
    ) -> Verification:
        number = number_of(plan)
        with self.changes(number) as changes:
            job = Job(
                "db",
                read_catalog(live),
                [],
                truth,
                plan.held_triggers,
                1000,
                3,
                Repair(changes, number, SCHEMA),
                (lambda: copy) if copy else None,
                all_or_nothing=self._all_or_nothing,
            )
            if rate is None:
                self.done.append(load(live, job, None, before_commit=_unnoted))
            else:
                watch = LoadListener(_unnoted, self._between)
                pace = WalPace(live, Pace(wal_bytes_per_s=rate), lambda text, seconds: None)
                self.done.append(load_paced(live, job, None, pace, earlier=[], watch=watch))
            found = verify(live, job, self.done[-1])
            assert found.proven, found
            return found


def number_of(plan: RepairPlan) -> int:
    """The number of the plan's change set; there is one."""
    assert plan.number is not None
    return plan.number


def _unnoted(done: Loaded) -> None:
    """No journal here."""


@contextmanager
def at_target(database: Database, home: Path) -> Iterator[Times]:
    """`database` as it is at this moment becomes T; go on living in it afterwards."""
    then = Database(database.live, f"{database.name}_t")
    with database.live.connect() as server:
        row = server.execute("select pg_current_xact_id()::text::bigint").fetchone()
        assert row
        server.execute(f'create database "{then.name}" template "{database.name}"')
        try:
            yield Times(database, then, home, row[0])
        finally:
            server.execute(f'drop database if exists "{then.name}" with (force)')


class Past:
    """`with past("create …", …) as times:` builds, and T is now."""

    def __init__(self, database: Database, home: Path) -> None:
        self._database, self._home = database, home

    @contextmanager
    def __call__(self, *statements: str) -> Iterator[Times]:
        self._database.run(*statements)
        with at_target(self._database, self._home) as times:
            yield times


@pytest.fixture
def past(database: Database, tmp_path: Path) -> Past:
    """See Past."""
    return Past(database, tmp_path)


def xid_of(live: Live, database: Database, *statements: str) -> int:
    """Run `statements` in one transaction and return the id that its rows carry."""
    with database.connect() as connection, connection.transaction():
        row = connection.execute("select pg_current_xact_id()::text::bigint % 4294967296").fetchone()
        for statement in statements:
            connection.execute(statement)
        assert row
        return int(row[0])
