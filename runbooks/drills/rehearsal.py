"""A drill on a real instance: a restored copy of it is broken and repaired. The instance itself is only ever read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from psycopg import sql

from recovery.aws.instances import Instances
from recovery.compare.scope import ScopeRequest, match_tables
from recovery.config import Profile
from recovery.errors import ErrorId, RowbackError
from recovery.model.catalog import Catalog
from recovery.model.modes.reload_mode import Mode
from recovery.model.recovery_plan import Transport
from recovery.model.recovery_report import Objectives, Report
from recovery.model.values import TableName
from recovery.planning.check_request import Request
from recovery.planning.copy_surroundings import copy_settings, fit_for
from recovery.planning.original_login import target_on_original
from recovery.postgres.connect import Session, connect, identity_of
from recovery.postgres.read_catalog import read_catalog
from recovery.store.rehearsal_journal import RehearsalJournal
from recovery.workflow.recovery_run import Listener
from runbooks.drills.drill_measures import PhaseClock, digests
from runbooks.drills.rehearsal_copy import (
    NOT_BROKEN,
    PATIENCE_S,
    Scene,
    StandIn,
    ask_for,
    await_backup,
    left_over,
    new_copy,
    prove,
    refuse_second_drill,
    removing,
    take_over,
)
from runbooks.drills.rehearsed_recovery import libpq_password, recover
from runbooks.drills.run_drill import DrillReport
from runbooks.lab.background import pass_a_second


@dataclass(frozen=True)
class InstanceDrillRequest:
    """Which instance's copy is broken, in which tables, against which objectives."""

    instance: str
    database: str
    tables: tuple[str, ...]
    profile: Profile
    rto_s: int
    rpo_s: int
    transport: Transport

    @property
    def labels(self) -> tuple[str, str]:
        """What is drilled, and the fault in words."""
        return self.instance, f"truncate {', '.join(self.tables)} on a copy"


def rehearse(request: InstanceDrillRequest, listener: Listener) -> DrillReport:
    """Restore `wanted.instance` as of its latest restorable time, truncate the tables there, repair, compare, remove.

    The copy gets backups of its own, so that it can be restored like its original. It is broken only in a session that
    was proven, by a lock taken in the original, to be on another server. It is removed whatever happens, and so is the
    copy of the repair. Nothing is written to `wanted.instance`.

    Raises what `rowback restore` raises, table-unknown for tables that do not exist, case-open while another drill's
    copy of the same instance exists.
    """
    instances, clock = Instances.connect(request.profile.region), PhaseClock(listener)
    source = instances.get(request.instance)
    refuse_second_drill(instances, source)
    settings = copy_settings(source, request.profile)
    with connect(target_on_original(source, request.database, request.profile)) as live:
        settings = fit_for(live, source, settings, instances)
        scene = Scene(instances, source, request.database, identity_of(live), request.profile, settings)
        tables = _chosen(read_catalog(live), request.tables)
    copy = new_copy(instances, source)
    with RehearsalJournal.begin(copy.case) as journal, removing(instances, journal, clock):
        with clock.phase("stand-in", f"restore a copy of '{source.identifier}' to be broken"):
            facts = ask_for(instances, source, copy, scene.settings, journal)
        with clock.phase("stand-in-ready", "wait for it, take it over, make it inert"):
            stand_in = take_over(scene, facts, clock.listener)
        with clock.phase("stand-in-backup", "wait for its first backup"):
            await_backup(instances, stand_in.facts, clock.listener)
        return _on(stand_in, _Broken(request, tables), scene, clock)


@dataclass(frozen=True)
class _Broken:
    """What is asked, with the tables found."""

    wanted: InstanceDrillRequest
    tables: tuple[TableName, ...]


def _chosen(catalog: Catalog, tables: tuple[str, ...]) -> tuple[TableName, ...]:
    return tuple(dict.fromkeys(name for text in tables for name in match_tables(text, catalog)))


def _on(stand_in: StandIn, broken_tables: _Broken, scene: Scene, clock: PhaseClock) -> DrillReport:
    request, names = broken_tables.wanted, ", ".join(map(str, broken_tables.tables))
    with connect(stand_in.way(), state=NOT_BROKEN) as broken:
        # make_inert left the master user read-only, which holds for sessions that do not say otherwise.
        broken.execute("set default_transaction_read_only = off")
        broken.execute("alter role current_user reset default_transaction_read_only")
        with clock.phase("steady-state", "digest every row"):
            before, target = digests(broken), pass_a_second()
            _refuse_empty(before, broken_tables.tables, scene)
        with clock.phase("fault", f"truncate {names} on the copy"):
            fault = _break(broken, broken_tables.tables, scene)
            fault_at = datetime.now(UTC)
            emptied = _emptied(before, digests(broken))
        report = _recover(stand_in, request, (target, emptied), clock)
        with clock.phase("steady-state-again", "digest every row again"):
            after = digests(broken)
    objectives = Objectives(recovery_time_s=request.rto_s, data_loss_s=request.rpo_s)
    return DrillReport(
        target=request.instance,
        postgres=stand_in.facts.engine_version,
        dataset=request.database,
        rows=sum(before[name][0] for name in emptied),
        fault=fault,
        mode=Mode.MISSING,
        fault_at=fault_at,
        target_time=target,
        restored=all(after.get(name) == before[name] for name in emptied),
        outside_scope_unchanged=_without(after, emptied) == _without(before, emptied),
        billing_writes_acknowledged=0,
        billing_writes_kept=0,
        leftover_instances=left_over(scene.instances, stand_in),
        recovery_time_s=report.recovery_time_s or 0.0,
        data_loss_s=round((fault_at - target).total_seconds(), 3),
        objectives=objectives,
        phases_s=clock.phases,
        recovery=report,
    )


def _break(broken: Session, tables: tuple[TableName, ...], scene: Scene) -> str:
    """TRUNCATE, in the very session that was proven not to be on the instance."""
    prove(scene, broken)
    names = sql.SQL(", ").join(sql.Identifier(*name.key) for name in tables)
    statement = sql.SQL("truncate {} cascade").format(names)
    broken.execute(statement)
    return statement.as_string(broken)


def _emptied(before: dict[str, tuple[int, str]], now: dict[str, tuple[int, str]]) -> tuple[str, ...]:
    return tuple(name for name, (rows, _) in before.items() if rows and not now[name][0])


def _without(by_table: dict[str, tuple[int, str]], names: tuple[str, ...]) -> dict[str, tuple[int, str]]:
    return {name: digest for name, digest in by_table.items() if name not in names}


def _refuse_empty(before: dict[str, tuple[int, str]], tables: tuple[TableName, ...], scene: Scene) -> None:
    """A table that is empty, or younger than the copy, cannot show that anything comes back."""
    rows = {name: before.get(".".join(name.key), (0, ""))[0] for name in tables}
    if hollow := [str(name) for name, count in rows.items() if not count]:
        raise RowbackError(
            ErrorId.TABLE_UNKNOWN,
            f"{', '.join(hollow)} held no rows on the copy: losing them proves nothing",
            state=f"nothing was broken; the copy is removed; nothing was written to '{scene.source.identifier}'",
            help="name tables that have had rows since before the latest restorable time",
        )


def _recover(
    stand_in: StandIn, wanted: InstanceDrillRequest, incident: tuple[datetime, tuple[str, ...]], clock: PhaseClock
) -> Report:
    profile = wanted.profile.model_copy(
        update={
            "instance": stand_in.facts.identifier,
            "credentials": stand_in.credentials,
            "approvals_needed": 0,
            "references": (),
            "notify": (),
        }
    )
    request = Request(
        instance=stand_in.facts.identifier,
        database=wanted.database,
        target_time=incident[0],
        scope=ScopeRequest(tables=incident[1]),
        transport=wanted.transport,
        profile=profile,
        wait_for_window_s=PATIENCE_S,
    )
    objectives = Objectives(recovery_time_s=wanted.rto_s, data_loss_s=wanted.rpo_s)
    with libpq_password(stand_in.password):
        return recover(request, objectives, Instances.connect(profile.region), clock)
