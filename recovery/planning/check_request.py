"""What is asked for, and what is refused before anything is created.

The instance, its window, names that match nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from glob import escape

from guards.plain_text import shell_word
from recovery.aws.restorable_source import RestorableSource
from recovery.compare.scope import Scope, ScopeRequest
from recovery.config import Profile
from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError
from recovery.model.catalog import Catalog
from recovery.model.instance import InstanceFacts, RestoreWindow
from recovery.model.load_strategy import LoadStrategy
from recovery.model.modes.reload_mode import ReloadMode
from recovery.model.nearest import nearest, nearest_line
from recovery.model.recovery_plan import Transport
from recovery.model.repair_plan import RepairRequest
from recovery.model.target import format_utc
from recovery.model.values import TableName, named_table
from recovery.postgres.before_images import left_schemas
from recovery.postgres.change_consumers import event_triggers, fixed_sequences, frozen
from recovery.postgres.connect import Session
from recovery.postgres.publications import publishes_everything


@dataclass(frozen=True)
class Request:
    """What the user asked for, resolved against flags and profile."""

    instance: str
    database: str
    target_time: datetime
    scope: ScopeRequest
    transport: Transport
    profile: Profile
    wait_for_window_s: float = 0.0
    load: LoadStrategy = LoadStrategy.AUTO
    repair: RepairRequest = RepairRequest()
    where: str | None = None
    all_or_nothing: bool = False
    copy_parameter_group: str | None = None
    inside_vpc: bool = False
    max_cost_usd: float | None = None
    profile_name: str | None = None


WITHOUT_SERVER = frozenset({"creating", "deleting", "failed", "starting", "stopped", "stopping"})


def refuse_unsuitable(source: InstanceFacts) -> None:
    """Raises instance-unsuitable for what rowback does not restore, and for an instance on which no server runs."""
    if source.engine != "postgres":
        raise RowbackError(
            ErrorId.INSTANCE_UNSUITABLE,
            f"'{source.identifier}' runs {source.engine}, not RDS for PostgreSQL",
            state=NOTHING_CREATED,
            help="rowback restores engine 'postgres'; Aurora clusters are not supported yet",
        )
    if source.cluster:
        raise RowbackError(
            ErrorId.INSTANCE_UNSUITABLE,
            f"'{source.identifier}' is a member of Multi-AZ DB cluster '{source.cluster}'",
            "its backups are the cluster's",
            state=NOTHING_CREATED,
            help="rowback restores instances; a snapshot of the cluster can be restored by hand:"
            f" aws rds describe-db-cluster-snapshots --db-cluster-identifier {source.cluster}",
        )
    if source.replica_of:
        name = source.replica_of.rpartition(":")[2]
        raise RowbackError(
            ErrorId.INSTANCE_UNSUITABLE,
            f"'{source.identifier}' is a read replica of '{name}', which RDS restores to no point in time",
            state=NOTHING_CREATED,
            help=f"run the same command for '{name}': what is put back there reaches the replica",
        )
    if source.major < 13:
        raise RowbackError(
            ErrorId.INSTANCE_UNSUITABLE,
            f"'{source.identifier}' runs PostgreSQL {source.engine_version}",
            state=NOTHING_CREATED,
            help="rowback supports PostgreSQL 13 and newer",
        )

    if source.status in WITHOUT_SERVER:
        start = f"start it (aws rds start-db-instance --db-instance-identifier {source.identifier})"
        raise RowbackError(
            ErrorId.INSTANCE_UNSUITABLE,
            f"'{source.identifier}' is '{source.status}': no server answers there",
            state=NOTHING_CREATED,
            help=f"{start if source.status == 'stopped' else 'wait until it is available'}, then run the same command"
            " again",
        )


def window_with(
    request: Request, instances: RestorableSource, source: InstanceFacts, say: Callable[[str], None]
) -> RestoreWindow:
    """The restore window, once it holds T. RDS moves its end every 5 minutes or so; the caller sets the patience.

    Raises target-before-window, target-after-window, backups-off.
    """
    deadline, announced = time.monotonic() + request.wait_for_window_s, False
    while True:
        window = instances.window(source)
        if window.earliest <= request.target_time < window.latest:
            return window
        if request.target_time < window.earliest:
            raise RowbackError(
                ErrorId.TARGET_BEFORE_WINDOW,
                f"target {format_utc(request.target_time)} is {_apart(window.earliest - request.target_time)} before"
                f" the earliest restorable time of '{source.identifier}' ({format_utc(window.earliest)})",
                f"its automated backups are kept for {source.retention_days} days",
                *_predecessors(request, instances.predecessors(source)),
                state=NOTHING_CREATED,
                help="look for an older snapshot: aws rds describe-db-snapshots --db-instance-identifier "
                + source.identifier,
            )
        if time.monotonic() >= deadline or request.target_time > datetime.now(UTC):
            raise _after_window(request, source, window)
        if not announced:
            say(f"waiting until the restore window reaches {format_utc(request.target_time)}")
        announced = True
        time.sleep(instances.poll_s)


def _predecessors(request: Request, names: Sequence[str]) -> list[str]:
    where = f"--at {format_utc(request.target_time)} --database {shell_word(request.database)}"
    return [
        f"before a blue/green switchover '{name}' had its name, and has backups of its own; to look at what it held:"
        f" rowback open {name} {where}, then rowback peek CASE 'select …'"
        for name in names
    ]


def last_second(window: RestoreWindow) -> datetime:
    """The last whole second before the end of the window: RDS restores to whole seconds, and not to its end itself."""
    whole = window.latest.replace(microsecond=0)
    return whole if whole < window.latest else whole - timedelta(seconds=1)


def _after_window(request: Request, source: InstanceFacts, window: RestoreWindow) -> RowbackError:
    future = request.target_time > datetime.now(UTC)
    last = last_second(window)
    apart = request.target_time - window.latest
    where = f"{_apart(apart)} after" if apart else "at"
    return RowbackError(
        ErrorId.TARGET_AFTER_WINDOW,
        f"target {format_utc(request.target_time)} is {where} the latest"
        f" restorable time of '{source.identifier}' ({format_utc(window.latest)}), before which it has to lie",
        "it lies in the future" if future else "RDS usually moves that on every 5 minutes",
        state=NOTHING_CREATED,
        help=f"use --at {format_utc(last)} or earlier"
        if future
        else "run the same command again later, or add --wait-for-window 10m",
    )


def dropped_tables(request: Request, catalog: Catalog) -> tuple[Request, tuple[TableName, ...]]:
    """Named tables that do not exist now: mode beside brings them as they were at T, mode recreate makes them anew.

    In other modes they are refused, with the command that does. Raises table-unknown.
    """
    if request.repair.reload_mode.anew:  # also of what is there, something that hung on it may be missing
        _refuse_options_of_rows(request)
        names = tuple(_meant(text) for text in request.scope.tables)
        return replace(request, scope=replace(request.scope, tables=())), names
    existing = [table.name for table in catalog.tables] + [part.name for part in catalog.partitioned]
    spelled = {text for name in existing for text in (str(name), ".".join(name.key), name.name)}
    missing = [text for text in request.scope.tables if text not in spelled and not set(text) & set("*?[")]
    if not missing:
        return request, ()
    if not request.repair.reload_mode.in_place:
        existing_texts = tuple(text for text in request.scope.tables if text not in missing)
        names = tuple(named_table(text) for text in missing)
        return replace(request, scope=replace(request.scope, tables=existing_texts)), names
    near = [name for text in missing for name in nearest(text, sorted(spelled))]
    tables = " ".join(f"--table {shell_word(text)}" for text in missing)
    raise RowbackError(
        ErrorId.TABLE_UNKNOWN,
        f"no table matches '{missing[0]}' in '{request.database}' now",
        nearest_line(near, f"the database has {len(existing)} tables"),
        "one that was dropped since T is made anew, with what hung on it, by mode recreate",
        state=NOTHING_CREATED,
        help=f"correct the name; or, if it was dropped: rowback restore {request.instance}"
        f" --at {format_utc(request.target_time)} --database {shell_word(request.database)} --mode recreate {tables}",
    )


def _meant(text: str) -> TableName:
    """A name, or a pattern where nothing is quoted: what stands in quotes is meant as it is."""
    name = named_table(text)
    return name if '"' not in text else TableName(schema_name=escape(name.schema_name), name=escape(name.name))


def _refuse_options_of_rows(request: Request) -> None:
    """Options that mode recreate would not heed. Raises usage."""
    named = [f"--except {text}" for text in request.scope.leave_out]
    named += ["--where"] if request.where is not None else []
    named += [f"--load {request.load}"] if request.load is not LoadStrategy.AUTO else []
    named += ["--incident-xid"] if request.repair.incident_xids or request.repair.incident_ranges else []
    if named:
        raise RowbackError(
            ErrorId.USAGE,
            f"{', '.join(named)} does not go with --mode {request.repair.mode}, which makes anew what is missing",
            state=NOTHING_CREATED,
            help="name what is meant with --table, or leave the option out",
        )


def plan_notices(original: Session, catalog: Catalog, scope: Scope, mode: ReloadMode) -> Iterator[str]:
    """What a person should know of the original before anything is created."""
    if mode.beside and publishes_everything(original):
        yield (
            "a publication of all tables exists: what is loaded beside is UNLOGGED, so that no subscriber is offered"
            " it, and a crash or failover empties it: copy from it soon"
        )
    yield from frozen(original)
    yield from (
        f"case {schema.case} dropped indexes that are still to be built: rowback close {schema.case}, or by hand:"
        f" select obj_description('{schema.name}'::regnamespace)"
        for schema in left_schemas(original)
        if schema.statements
    )
    yield from _extension_members(catalog, scope)
    yield from _rules(catalog, scope)
    yield from (
        f"sequence {name} may not be set by this role: if it was restarted, its owner has to move it on (setval)"
        for name in fixed_sequences(original)
    )
    yield from (f"event trigger {name} sees what rowback defines for the load" for name in event_triggers(original))


def _extension_members(catalog: Catalog, scope: Scope) -> Iterator[str]:
    for table in catalog.tables:
        if table.extension and table.name in scope.chosen:
            yield f"{table.name} is a member of extension {table.extension}: its rows are put back as any other's"


def _rules(catalog: Catalog, scope: Scope) -> Iterator[str]:
    """Rules act on every row that a statement writes; in replica mode only those do that are enabled for it."""
    for table in catalog.tables:
        if table.rules and table.name in scope.chosen:
            names = ", ".join(rule.name for rule in table.rules)
            yield f"{table.name} has rules ({names}): they do not act on rows that are put back"


def _apart(distance: timedelta) -> str:
    seconds = int(distance.total_seconds())
    days, seconds = divmod(seconds, 86_400)
    hours, seconds = divmod(seconds, 3600)
    minutes, seconds = divmod(seconds, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "less than a second"
