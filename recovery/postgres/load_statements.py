"""The statements of the load's one transaction: locks, triggers, foreign keys, sequences, and its own accounts."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

import psycopg
from psycopg import sql
from psycopg.errors import DeadlockDetected, LockNotAvailable, SerializationFailure

from recovery.model.catalog import Sequence as Counter
from recovery.model.catalog import Table, Trigger
from recovery.model.recovery_plan import ForeignKeyMode
from recovery.model.recovery_report import SequenceMove
from recovery.model.values import TableName
from recovery.postgres.change_consumers import event_triggers
from recovery.postgres.connect import Session, one
from recovery.postgres.read_catalog import last_value

# tgenabled → the command that brings a trigger back to exactly that state.
_ENABLE: Mapping[str, LiteralString] = {
    "O": "enable trigger",
    "R": "enable replica trigger",
    "A": "enable always trigger",
}


# In these modes the session's triggers do not fire, those of foreign keys neither.
HOLDING_BACK = (ForeignKeyMode.REPLICA, ForeignKeyMode.SETS)


def transaction(original: Session) -> AbstractContextManager[object]:
    """One transaction: committed at the end, rolled back by any exception."""
    return original.transaction()


@contextmanager
def one_snapshot(original: Session) -> Iterator[None]:
    """One transaction whose statements all see the same rows; ends quietly when another one outran it."""
    with suppress(SerializationFailure), original.transaction():
        original.execute("set transaction isolation level repeatable read")
        yield


def unless_blocked() -> AbstractContextManager[object]:
    """Ends quietly when a row stayed locked longer than lock_timeout, or two sessions waited for each other.

    The transaction inside was rolled back.
    """
    return suppress(LockNotAvailable, DeadlockDetected)


def lock_tables(
    original: Session, tables: Sequence[TableName], *, alone: Collection[TableName] = (), timeout_ms: int
) -> bool:
    """Lock against every writer (SHARE ROW EXCLUSIVE: reading goes on).

    Those in `alone` against readers too (ACCESS EXCLUSIVE). After the timeout holds none and returns False.
    """
    original.execute(sql.SQL("set local lock_timeout = {}").format(sql.Literal(timeout_ms)))
    modes = ((alone, "access exclusive"), ([table for table in tables if table not in alone], "share row exclusive"))
    try:
        with original.transaction():  # a savepoint, so that the timeout does not spoil the whole transaction
            for locked, mode in modes:
                if names := [sql.SQL("only {}").format(sql.Identifier(*table.key)) for table in locked]:
                    original.execute(
                        sql.SQL("lock table {} in {} mode").format(sql.SQL(", ").join(names), sql.SQL(mode))
                    )
    except LockNotAvailable:
        return False
    return True


def hold_triggers(original: Session, triggers: Iterable[Trigger]) -> None:
    """Disable user triggers by name: at T they have fired already. Foreign keys' own triggers stay on."""
    for trigger in triggers:
        if trigger.state != "D":
            _alter_trigger(original, trigger, "disable trigger")


def release_triggers(original: Session, triggers: Iterable[Trigger]) -> None:
    """Bring every held trigger back to the state it had."""
    for trigger in triggers:
        if trigger.state != "D":
            _alter_trigger(original, trigger, _ENABLE[trigger.state])


def use_search_path_of_role(original: Session) -> None:
    """Until the transaction ends or `pin_search_path`.

    Functions behind CHECKs, domains and indexes may name things without their schema and find them the way the
    application's sessions do.
    """
    original.execute("set local search_path = default")


def pin_search_path(original: Session) -> None:
    """Back to the path under which values print alike on both servers."""
    original.execute("set local search_path = pg_catalog")


def to_hold(triggers: Iterable[Trigger], tables: Collection[TableName], mode: ForeignKeyMode) -> list[Trigger]:
    """The triggers that have to be disabled by name: in replica mode those alone that fire in it."""
    firing = "RA" if mode in HOLDING_BACK else "ORA"
    return [trigger for trigger in triggers if trigger.table in tables and trigger.state in firing]


def needs_replica(original: Session, tables: Iterable[Table], triggers: Collection[Trigger]) -> bool:
    """Whether session_replication_role = replica is the better way, and open to this role.

    Rules on the tables would act on every row, and event triggers would see triggers being disabled.
    """
    ruled = any(rule.state == "O" for table in tables for rule in table.rules)
    return (ruled or (bool(triggers) and bool(event_triggers(original)))) and may_be_replica(original)


def relax_foreign_keys(original: Session, mode: ForeignKeyMode) -> None:
    """Let rows arrive in the planned order. `enforce_foreign_keys` must follow in every mode.

    What is deferrable waits until then, unique keys too: numbers that were shifted go back past each other.
    """
    match mode:
        case ForeignKeyMode.ORDERED | ForeignKeyMode.DEFERRED:
            original.execute("set constraints all deferred")
        case ForeignKeyMode.REPLICA | ForeignKeyMode.SETS:
            original.execute("set local session_replication_role = replica")


def enforce_foreign_keys(original: Session, mode: ForeignKeyMode) -> None:
    """Check deferred keys now and end the relaxation.

    In every mode: keys may be INITIALLY DEFERRED, and a table with pending checks refuses ALTER … ENABLE TRIGGER.
    """
    if mode in HOLDING_BACK:
        original.execute("set local session_replication_role = origin")
    original.execute("set constraints all immediate")


def may_be_replica(original: Session) -> bool:
    """Whether this role may set session_replication_role, tried in a transaction that is rolled back.

    has_parameter_privilege() is no probe: RDS patches the check instead of granting (sources: RDS-roles).
    """
    try:
        with original.transaction(force_rollback=True):
            original.execute("set local session_replication_role = replica")
    except psycopg.errors.InsufficientPrivilege:
        return False
    return True


def counters_of(
    original: Session, counters: Iterable[Counter], tables: Collection[TableName], *, whole_database: bool
) -> list[Counter]:
    """The sequences behind the rows that come back: of their columns.

    Of those that stand by themselves, the ones that defaults or trigger functions of the tables name, or all of them
    where the whole database is in scope.
    """
    counters = list(counters)
    free = {counter.name for counter in counters if counter.table is None} if tables else set()
    named = free if whole_database else _mentioned(original, free, tables)
    return [counter for counter in counters if counter.table in tables or counter.name in named]


def _mentioned(original: Session, free: Collection[TableName], tables: Collection[TableName]) -> set[TableName]:
    texts = [
        row[0]
        for row in original.execute(
            "with t as (select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace"
            "  where (n.nspname || '.' || c.relname) = any(%s))"
            " select pg_get_expr(d.adbin, d.adrelid) from pg_attrdef d where d.adrelid in (select oid from t)"
            " union all select p.prosrc from pg_trigger g join pg_proc p on p.oid = g.tgfoid"
            "  where g.tgrelid in (select oid from t) and not g.tgisinternal",
            ([".".join(table.key) for table in tables],),
        )
    ]
    return {name for name in free if any(re.search(rf"(?<!\w){re.escape(name.name)}(?!\w)", text) for text in texts)}


def advance_sequences(
    original: Session, counters: Iterable[Counter], at_target: Iterable[Counter]
) -> list[SequenceMove]:
    """Move each sequence forward to where it stood at T; one that did not exist then, past its column's values.

    Not transactional in PostgreSQL: if the load rolls back afterwards, numbers are skipped, never reused.
    """
    then = {counter.name: counter.last_value for counter in at_target}
    moves = []
    for counter in {counter.name: counter for counter in counters}.values():
        # At T known: only that. A column may hold a sentinel far beyond what its sequence ever reached.
        target_value = then[counter.name] if counter.name in then else furthest_in_column(original, counter)
        now = last_value(original, counter.name)
        if target_value is not None and counter.settable and _further(target_value, now, counter.increment):
            original.execute(
                "select setval(%s::regclass, %s)", (sql.Identifier(*counter.name.key).as_string(original), target_value)
            )
            moves.append(SequenceMove(sequence=counter.name, before=now, after=target_value))
    return moves


def furthest_in_column(original: Session, counter: Counter) -> int | None:
    """The largest value in a sequence's column (the smallest when it counts down); None for other than integers."""
    if not counter.integers or counter.table is None or counter.column is None:
        return None
    extreme = sql.SQL("max" if counter.increment > 0 else "min")
    value: int | None = one(
        original,
        sql.SQL("select {0}({1})::bigint from only {2} where {1} between {3} and {4}").format(
            extreme,
            sql.Identifier(counter.column),
            sql.Identifier(*counter.table.key),
            sql.Literal(counter.minimum),
            sql.Literal(counter.maximum),
        ),
    )
    return value


def server_time(original: Session) -> datetime:
    """The server's clock at this moment."""
    moment: datetime = one(original, "select clock_timestamp()")
    return moment


def transaction_id(original: Session) -> int:
    """The id of the open transaction, with epoch: unique for the life of the cluster."""
    return int(one(original, "select pg_current_xact_id()::text"))


def transaction_status(original: Session, xid: int) -> str:
    """`committed`, `aborted`, `in progress`, or `forgotten` when it is too old for the server to know."""
    return str(one(original, "select coalesce(pg_xact_status(%s::text::xid8), 'forgotten')", (str(xid),)))


def end_transaction_of_the_dead(original: Session, xid: int) -> None:
    """End our own session that still runs transaction `xid` though its client is gone."""
    original.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where backend_xid = (%s::bigint %% 4294967296)::text::xid and application_name = 'rowback'"
        " and usename = current_user and pid <> pg_backend_pid()",
        (xid,),
    )


@dataclass(frozen=True)
class Touched:
    """Row changes of the open transaction in one table, as the server itself counts them."""

    table: TableName
    inserted: int
    updated: int
    deleted: int


def plus(one: Touched | None, other: Touched) -> Touched:
    """Both together."""
    if one is None:
        return other
    return Touched(other.table, one.inserted + other.inserted, one.updated + other.updated, one.deleted + other.deleted)


def minus(now: Touched, before: Touched | None) -> Touched:
    """What came since `before`."""
    so_far = before or Touched(now.table, 0, 0, 0)
    return Touched(
        now.table, now.inserted - so_far.inserted, now.updated - so_far.updated, now.deleted - so_far.deleted
    )


def touched_tables(original: Session) -> dict[TableName, Touched]:
    """Every table that the open transaction changed, triggers and cascades included (pg_stat_xact_all_tables)."""
    rows = original.execute(
        "select schemaname, relname, n_tup_ins, n_tup_upd, n_tup_del from pg_stat_xact_all_tables"
        " where n_tup_ins + n_tup_upd + n_tup_del > 0"
        # DISABLE TRIGGER updates pg_trigger itself; the digest of definitions watches the catalogs
        " and schemaname not in ('pg_catalog', 'pg_toast', 'information_schema')"
        # our own stages and before-images
        " and schemaname !~ '^(pg_temp|pg_toast_temp|rowback_case)_'"
    )
    touched = (Touched(TableName(schema_name=s, name=n), ins, upd, dele) for s, n, ins, upd, dele in rows)
    return {change.table: change for change in touched}


def settle_accounts(original: Session) -> None:
    """Have the server book what earlier transactions of this session did, so that a table that is renamed starts at 0.

    Since PostgreSQL 15; call outside a transaction.
    """
    original.execute("select pg_stat_force_next_flush()")


def _further(target: int, now: int | None, increment: int) -> bool:
    return now is None or (target > now if increment > 0 else target < now)


def _alter_trigger(original: Session, trigger: Trigger, how: LiteralString) -> None:
    original.execute(
        sql.SQL("/* rowback */ alter table only {} {} {}").format(
            sql.Identifier(*trigger.table.key), sql.SQL(how), sql.Identifier(trigger.name)
        )
    )
