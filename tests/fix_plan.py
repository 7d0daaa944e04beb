"""A recovery plan for everything in a catalog."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from recovery.model.catalog import Catalog, DatabaseIdentity
from recovery.model.instance import CopySettings, RestoreWindow
from recovery.model.load_order import load_order
from recovery.model.recovery_plan import PlannedTable, RecoveryPlan, Transport, Why
from tests.fix_instances import instance


def plan_for(catalog: Catalog, **changes: Any) -> RecoveryPlan:
    names = [t.name for t in catalog.tables]
    order, mode = load_order(names, catalog)
    now = datetime(2026, 11, 22, tzinfo=UTC)
    facts = instance(identifier="live")
    plan = RecoveryPlan(
        tool_version="test",
        made_at=now,
        source=facts,
        window=RestoreWindow(earliest=now, latest=now),
        target_time=now,
        database="db",
        user="postgres",
        identity=DatabaseIdentity(
            system_identifier="1", database_oid=1, database="db", server_version_num=1, started_at=""
        ),
        tables=tuple(PlannedTable(name=n, why=Why.NAMED, because="", bytes_now=0) for n in order),
        left_out=(),
        foreign_key_mode=mode,
        held_triggers=tuple(t for table in catalog.tables for t in table.triggers if t.state != "D"),
        sequences=catalog.sequences,
        copy_settings=CopySettings.like(facts, instance_class=None, expires_after_hours=1),
        transport=Transport.COPY,
        lock_timeout_ms=200,
        lock_attempts=2,
    )
    return plan.model_copy(update=changes)
