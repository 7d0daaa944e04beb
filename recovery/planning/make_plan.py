"""Make a recovery plan from reads only: RDS's facts, the live catalog, the scope. Whatever can be is refused here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from guards.plain_text import shell_word
from recovery import __version__
from recovery.aws.restorable_source import RestorableSource
from recovery.aws.restore_call import database_tag
from recovery.compare.scope import Scope, choose_scope
from recovery.config import Profile
from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError
from recovery.model.catalog import Catalog, Trigger
from recovery.model.instance import (
    TAG_CASE,
    TAG_DATABASE,
    TAG_SOURCE,
    InstanceFacts,
)
from recovery.model.load_order import load_order
from recovery.model.plan_options import command_for, options_of
from recovery.model.recovery_plan import ForeignKeyMode, LeftOut, RecoveryPlan, Transport, Why
from recovery.model.target import format_utc
from recovery.model.values import TableName
from recovery.planning.check_request import (
    Request,
    dropped_tables,
    plan_notices,
    refuse_unsuitable,
    window_with,
)
from recovery.planning.copy_surroundings import (
    copy_settings,
    fit_for,
    surroundings_notices,
)
from recovery.planning.cost_limit import expiry_within
from recovery.planning.original_login import target_on_original
from recovery.planning.reference_declarations import refuse_unusable_references
from recovery.postgres.client_programs import find_client_tools
from recovery.postgres.comparison.table_scan import refuses_predicate
from recovery.postgres.connect import IMPATIENT, Session, connect, identity_of
from recovery.postgres.connection_target import Target, is_loopback
from recovery.postgres.load_statements import may_be_replica
from recovery.postgres.read_catalog import count_rows, hidden_from, nonempty, read_catalog


def make_plan(request: Request, instances: RestorableSource, *, say: Callable[[str], None]) -> RecoveryPlan:
    """Everything that `restore` will do. Creates and writes nothing.

    Raises whatever would stop it later.
    """
    source = instances.get(request.instance)
    refuse_unsuitable(source)
    window = window_with(request, instances, source, say)
    settings = copy_settings(
        source, request.profile, parameter_group=request.copy_parameter_group, inside_vpc=request.inside_vpc
    )
    settings = expiry_within(request.max_cost_usd, settings, source)
    target = target_on_original(source, request.database, request.profile)
    if request.transport is Transport.DUMP or request.repair.reload_mode.anew:
        find_client_tools(server_major=source.major, tls=not is_loopback(target.endpoint.host))
    refuse_unusable_references(target, request.profile)
    with connect(target) as original:
        original.execute(IMPATIENT)
        identity = identity_of(original)
        catalog = read_catalog(original)
        request, dropped = dropped_tables(request, catalog)
        scope = _scope(original, catalog, request, dropped)
        _check_where(original, catalog, scope, request)
        order, _ = load_order(scope.chosen, catalog)
        cycle, mode = load_order([name for name, table in scope.chosen.items() if table.empty], catalog)
        if mode is ForeignKeyMode.REPLICA and not may_be_replica(original):
            raise _unbreakable_cycle(cycle, target)
        _leave_out_unreadable_on_copy(original, catalog, scope, source)
        tables = tuple(scope.chosen[name] for name in order if name in scope.chosen)
        settings = fit_for(original, source, settings, instances)
        size_bytes = sum(table.bytes for table in catalog.tables if table.name in scope.chosen)
        notices = [*plan_notices(original, catalog, scope, request.repair.reload_mode)]
        notices += surroundings_notices(original, source, settings, size_bytes)
    return RecoveryPlan(
        tool_version=__version__,
        made_at=datetime.now(UTC),
        source=stable(source),
        window=window,
        target_time=request.target_time,
        database=request.database,
        identity=identity,
        user=target.user,
        request=request.repair,
        where=request.where,
        tables=tables,
        dropped=dropped,
        notices=tuple(notices),
        all_or_nothing=request.all_or_nothing,
        left_out=tuple(scope.left_out),
        foreign_key_mode=mode,
        held_triggers=_held_triggers(catalog, scope),
        sequences=tuple({c.name: c for c in catalog.sequences if c.table in scope.chosen}.values()),
        copy_settings=settings,
        transport=request.transport,
        load=request.load,
        lock_timeout_ms=request.profile.lock_timeout_ms,
        lock_attempts=request.profile.lock_attempts,
        profile=request.profile_name,
        approvals=request.profile.approvals,
    )


def _held_triggers(catalog: Catalog, scope: Scope) -> tuple[Trigger, ...]:
    """Enabled triggers of the tables in scope: the load holds them back."""
    tables = (table for table in catalog.tables if table.name in scope.chosen)
    return tuple(trigger for table in tables for trigger in table.triggers if trigger.state != "D")


def check_facts(plan: RecoveryPlan, instances: RestorableSource, profile: Profile) -> None:
    """Whether what the plan rests on is still so. Reads only. Raises plan-facts-changed, or case-open."""
    refuse_second_copy(plan, instances)
    changed = _changed_facts(plan, instances, profile)
    if changed:
        raise RowbackError(
            ErrorId.PLAN_FACTS_CHANGED,
            f"plan {plan.digest[:8]} was made for '{plan.source.identifier}' as it no longer is",
            *changed,
            state="nothing was written",
            help=f"make a new plan: {command_for('plan', plan, *options_of(plan, plan.request))}",
        )


def stable(source: InstanceFacts) -> InstanceFacts:
    """The facts a plan may rest on: without status, tags and the like, which change on their own."""
    passing: dict[str, object] = {"status": "available", "tags": {}, "loaded_percent": None, "changing": False}
    return source.model_copy(update=passing)


def _changed_facts(plan: RecoveryPlan, instances: RestorableSource, profile: Profile) -> list[str]:
    source = instances.get(plan.source.identifier)
    if source.resource_id != plan.source.resource_id:
        return [f"'{source.identifier}' is another instance now: {source.resource_id}, not {plan.source.resource_id}"]
    window = instances.window(source)
    if not window.earliest <= plan.target_time:
        return [f"target {format_utc(plan.target_time)} has left the restore window ({format_utc(window.earliest)} on)"]
    with connect(target_on_original(source, plan.database, profile), state="nothing was written") as original:
        original.execute(IMPATIENT)
        identity = identity_of(original)
        same = ("system_identifier", "database_oid")
        if any(getattr(identity, name) != getattr(plan.identity, name) for name in same):
            return [f"database '{plan.database}' there is another database now (system identifier or oid differ)"]
        catalog = read_catalog(original)
        if plan.where is not None:  # a plan is a file, and its digest is no signature
            named = [table.name for table in plan.tables if table.why is Why.NAMED]
            _refuse_no_condition(original, catalog, named, plan.where)
        existing = {table.name for table in catalog.tables}
        missing = [f"table {name} does not exist any more" for name in plan.scope if name not in existing]
        if missing:
            return missing
        triggers_to_hold = tuple(
            t for table in catalog.tables if table.name in plan.scope for t in table.triggers if t.state != "D"
        )
        if triggers_to_hold != plan.held_triggers:
            return ["the triggers of the tables in scope changed"]
        return _all_filled(original, plan)


def _all_filled(original: Session, plan: RecoveryPlan) -> list[str]:
    """Every table was empty when the plan was made, and none is now: they were recovered since."""
    compared = [table for table in plan.tables if not table.empty and table.why is not Why.FOLLOWED]
    filled = nonempty(original, plan.whole)
    if compared or not filled or filled != set(plan.whole):
        return []
    counts = count_rows(original, sorted(filled, key=lambda name: name.key))
    return [
        f"table {name} holds {rows:,} rows now; the plan was made when it was empty" for name, rows in counts.items()
    ]


def refuse_second_copy(plan: RecoveryPlan, instances: RestorableSource) -> None:
    """Raise case-open when a copy for the database exists already."""
    if error := second_copy(plan, instances):
        raise error


def second_copy(plan: RecoveryPlan, instances: RestorableSource) -> RowbackError | None:
    """The refusal where any case has a copy for the plan's database already; None where there is no such copy."""
    source, database = plan.source, plan.database
    for copy in instances.copies():
        tags = copy.tags
        if tags.get(TAG_SOURCE) == source.resource_id and tags.get(TAG_DATABASE) == database_tag(database):
            case = tags.get(TAG_CASE, "unknown")
            return RowbackError(
                ErrorId.CASE_OPEN,
                f"copy '{copy.identifier}' of '{source.identifier}' exists already for database"
                f" '{database}' (case {case}, {copy.status})",
                state=NOTHING_CREATED,
                help=f"continue it: rowback resume {case}; or give it up: rowback close {case}"
                " (on the machine that opened it)",
            )
    return None


def _scope(original: Session, catalog: Catalog, request: Request, dropped: Sequence[TableName]) -> Scope:
    if request.repair.reload_mode.anew:
        return Scope()
    visible = [table.name for table in catalog.tables if table.readable and not table.row_security]
    filled = nonempty(original, visible)
    scope = Scope() if dropped and not request.scope.tables else choose_scope(catalog, filled, request.scope)
    if not request.repair.reload_mode.in_place:
        requested = (Why.NAMED, Why.WHOLE_DATABASE)
        scope.chosen = {name: table for name, table in scope.chosen.items() if table.why in requested}
    if not scope.chosen and not dropped:
        raise RowbackError(
            ErrorId.TABLE_UNKNOWN,
            f"there is nothing to put back in '{request.database}'",
            *_reasons(scope.left_out),
            state=NOTHING_CREATED,
            help="name the tables with --table",
        )
    return scope


def _check_where(original: Session, catalog: Catalog, scope: Scope, request: Request) -> None:
    """A row scope needs one root table, and a predicate that the server understands."""
    if request.where is None:
        return
    if not request.repair.reload_mode.in_place:
        raise RowbackError(
            ErrorId.USAGE,
            f"--where does not go with --mode {request.repair.mode}, which loads whole tables",
            state=NOTHING_CREATED,
            help="leave --where out, or look at the rows with rowback peek",
        )
    named = {table.because for table in scope.chosen.values() if table.why is Why.NAMED}
    if len(named) != 1:
        raise RowbackError(
            ErrorId.USAGE,
            f"--where limits the rows of one table, and {len(named)} are named",
            state=NOTHING_CREATED,
            help="name exactly one --table; tables that hang on it are followed",
        )
    chosen = [name for name, planned in scope.chosen.items() if planned.why is Why.NAMED]
    _refuse_no_condition(original, catalog, chosen, request.where)


def _refuse_no_condition(original: Session, catalog: Catalog, named: Sequence[TableName], where: str) -> None:
    """Raise usage unless `where` is one condition on each of the tables."""
    for name in named:
        if words := refuses_predicate(original, name, where):
            raise RowbackError(
                ErrorId.USAGE,
                f"--where {where!r} is no condition on {name}: {words}",
                f"its columns: {', '.join(c.name for t in catalog.tables if t.name == name for c in t.columns)}",
                state=NOTHING_CREATED,
                help="write one SQL condition, e.g. --where 'space_id = 42'",
            )


def _leave_out_unreadable_on_copy(original: Session, catalog: Catalog, scope: Scope, source: InstanceFacts) -> None:
    """Privileges come with the copy as of T, and its master user reads it. Raises privilege-missing for a named one."""
    chosen = [table for table in catalog.tables if table.name in scope.chosen]
    hidden = hidden_from(original, source.master_username, chosen)
    if named := [name for name in hidden if scope.chosen[name].why is Why.NAMED]:
        raise RowbackError(
            ErrorId.PRIVILEGE_MISSING,
            f"the copy is read as '{source.master_username}', who may not read {len(named)} of the tables",
            *map(str, named[:20]),
            state=NOTHING_CREATED,
            help="privileges come with the copy as of T; leave those tables out: "
            + " ".join(f"--except {shell_word('.'.join(name.key))}" for name in named[:20]),
        )
    for name in hidden:
        planned = scope.chosen.pop(name)
        reason = f"the copy is read as '{source.master_username}', who may not read it"
        scope.left_out.append(LeftOut(name=name, reason=reason, hit=planned.why is not Why.FOLLOWED))


def _unbreakable_cycle(order: Sequence[TableName], target: Target) -> RowbackError:
    return RowbackError(
        ErrorId.PRIVILEGE_MISSING,
        f"foreign keys form a cycle that is not deferrable among: {', '.join(map(str, order))}",
        f"loading it takes session_replication_role, which '{target.user}' may not set",
        state=NOTHING_CREATED,
        help="log in as the master user, or make one of the keys DEFERRABLE",
    )


def _reasons(left_out: Sequence[LeftOut]) -> list[str]:
    return [f"{out.name}: {out.reason}" for out in left_out[:20]]
