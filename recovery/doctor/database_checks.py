"""What the database itself says: can we get in, may we put rows back, which tables would resist."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from recovery.doctor.context import DoctorContext, Words, listed
from recovery.errors import ErrorId, RowbackError
from recovery.incident.log_gaps import errors_hidden, not_logged
from recovery.model.catalog import Catalog
from recovery.model.health_report import Area, Check, State
from recovery.model.load_order import load_order
from recovery.model.recovery_plan import ForeignKeyMode
from recovery.planning.copy_surroundings import copy_settings, refuse_subscribing_copy, refuse_unstartable_copy
from recovery.planning.reference_declarations import refuse_unusable_references
from recovery.postgres.change_consumers import event_triggers, frozen
from recovery.postgres.connect import Session
from recovery.postgres.connection_target import Target, is_loopback
from recovery.postgres.incident_traces import log_settings
from recovery.postgres.load_statements import may_be_replica
from recovery.postgres.read_catalog import hidden_from, read_catalog
from recovery.postgres.recovery_obstacles import (
    databases,
    large_objects,
    login_of,
    may_create_schema,
    old_transactions,
    prepared_transactions,
    sees_others,
    settings_of,
    slots,
)

SAYS = Words(Area.DATABASE)
FEWEST_CONNECTIONS = 5
SKEW_S = 5.0
A_DAY_MIN = 24 * 60
# What a refused connection is a sign of.
NAMES = {
    ErrorId.AUTHENTICATION_FAILED: "login",
    ErrorId.DATABASE_UNKNOWN: "database",
    ErrorId.CONFIG_INVALID: "tls",
    ErrorId.SERVER_UNREACHABLE: "reachability",
    ErrorId.INSTANCE_UNSUITABLE: "reachability",
}


@dataclass
class Opened:
    """A session on the database, what it was opened with, and the catalog, read when it is first asked for."""

    context: DoctorContext
    session: Session
    target: Target

    @cached_property
    def catalog(self) -> Catalog:
        """Raises what PostgreSQL says where this role may not read all of it."""
        return read_catalog(self.session)


def not_connected(error: RowbackError) -> Iterator[Check]:
    """The one problem that hides all others of the database."""
    words = f"{error.fact} {' '.join(error.facts)}"
    name = NAMES.get(error.id, "connection")
    if name == "reachability" and ("certificate" in words or "SSL" in words):
        name = "tls"
    yield SAYS.problem(name, "; ".join([error.fact, *error.facts[:1]]), error.help)


def connection(opened: Opened) -> Iterator[Check]:
    """Who we are there, over what, by whose clock."""
    login, target = login_of(opened.session), opened.target
    yield SAYS.ok("login", f"'{login.user}' in database '{target.database}'")
    verified = (target.sslmode or "verify-full").startswith("verify")
    if is_loopback(target.endpoint.host) or (login.tls and verified):
        yield SAYS.ok("tls", f"{login.tls or 'none, on this machine'}")
    else:
        reason = f"{login.tls}, but nobody checks whose server it is" if login.tls else "the session is not encrypted"
        yield SAYS.warning("tls", reason, 'set sslmode = "verify-full" and ca_bundle in rowback.toml')
    skew = abs((login.clock - opened.context.now).total_seconds())
    if skew > SKEW_S + 30:  # the checks before this one took their time
        yield SAYS.warning(
            "clock",
            f"this machine and the server are {skew:.0f} s apart; target times are the server's",
            "set this machine's clock (NTP)",
        )
    if login.free_connections < FEWEST_CONNECTIONS:
        yield SAYS.problem(
            "connections",
            f"{login.free_connections} connections are free, rowback takes up to {FEWEST_CONNECTIONS}",
            "raise max_connections, or end idle sessions",
        )


def privileges(opened: Opened) -> Iterator[Check]:
    """May this role put rows back, and may the copy's reader read them."""
    tables = opened.catalog.tables
    if not tables:
        names = listed(databases(opened.session))
        reason = f"database '{opened.target.database}' holds no table, so nothing was looked at"
        yield Check(
            name="tables", area=Area.DATABASE, state=State.UNKNOWN, reason=reason, fix=f"--database, one of: {names}"
        )
        return
    lacking = [t.name for t in tables if not t.readable or not t.insertable or (t.triggers and not t.owned)]
    if lacking:
        yield SAYS.problem(
            "privileges",
            f"'{opened.target.user}' may not put rows back into {len(lacking)} tables: {listed(lacking)}",
            "log in as the tables' owner (PGUSER), or grant what is missing",
        )
    else:
        yield SAYS.ok("privileges", f"'{opened.target.user}' may put rows back into all {len(tables)} tables")
    if not may_create_schema(opened.session):
        yield SAYS.problem(
            "schema-privilege",
            f"'{opened.target.user}' may not create a schema in '{opened.target.database}' for before-images",
            f"grant create on database {opened.target.database} to {opened.target.user}",
        )
    master = opened.context.facts.master_username
    if hidden := hidden_from(opened.session, master, [t for t in tables if t.readable and not t.row_security]):
        yield SAYS.problem(
            "copy-privileges",
            f"the copy is read as '{master}', who may not read {listed(hidden)}",
            f"grant select to {master}; privileges come with the copy as of T",
        )


def logging(opened: Opened) -> Iterator[Check]:
    """Would `rowback find` find anything."""
    settings = log_settings(opened.session)
    hidden, gaps = list(errors_hidden(settings)), list(not_logged(settings))
    if hidden or (gaps and settings.get("log_statement") != "mod"):
        fix = "log_statement = mod, or pgaudit.log = write,ddl; log_min_messages = warning: in the parameter group"
        yield SAYS.warning("logging", "; ".join([*hidden, *gaps]), fix)
    else:
        yield SAYS.ok("logging", "; ".join(gaps) or "the log shows which statement it was")
    if settings.get("track_commit_timestamp") == "on":
        yield SAYS.ok("commit-timestamps", "on")
    else:
        yield SAYS.warning(
            "commit-timestamps",
            "track_commit_timestamp is off: no row tells when it was written",
            "track_commit_timestamp = on in the parameter group, then a reboot",
        )
    retention_min = settings_of(opened.session).get("rds.log_retention_period", "")
    if retention_min.isdecimal() and int(retention_min) < A_DAY_MIN:
        yield SAYS.warning(
            "log-retention",
            f"RDS keeps log files for {int(retention_min) / 60:.0f} h",
            "rds.log_retention_period = 10080 in the parameter group, or export to CloudWatch Logs",
        )


def tables(opened: Opened) -> Iterator[Check]:
    """Tables that could not be put back row by row today."""
    every = opened.catalog.tables
    if not every:
        return
    questions = (
        (
            "keys",
            [t for t in every if not t.key],
            SAYS.warning,
            "no key, so changed rows cannot be told from new ones",
            "add a primary key",
        ),
        (
            "row-security",
            [t for t in every if t.row_security],
            SAYS.problem,
            "rows are hidden from this role",
            "log in as a role with BYPASSRLS",
        ),
        (
            "unlogged",
            [t for t in every if t.unlogged],
            SAYS.warning,
            "unlogged, so no backup holds their rows",
            "alter table … set logged, if they matter",
        ),
    )
    resist = False
    for name, which, say, what, fix in questions:
        if which:
            resist = True
            yield say(name, f"{what}: {listed(t.name for t in which)}", fix)
    _, mode = load_order([t.name for t in every if not t.unlogged], opened.catalog)
    if mode is ForeignKeyMode.REPLICA and not may_be_replica(opened.session):
        resist = True
        yield SAYS.problem(
            "foreign-key-cycles",
            "foreign keys form a cycle that is not deferrable, and this role may not set session_replication_role",
            "log in as the master user, or make a key deferrable",
        )
    if not resist:
        yield SAYS.ok("tables", f"all {len(every)} can be put back row by row")
    if count := large_objects(opened.session):
        yield SAYS.warning(
            "large-objects",
            f"{count:,} large objects: those that lost rows point to come back, changed contents are only told",
            "compare them yourself: rowback peek",
        )


def replication(opened: Opened) -> Iterator[Check]:
    """What holds WAL back."""
    idle = [
        f"{name} ({retained_bytes / 2**20:,.0f} MiB of WAL)"
        for name, state, retained_bytes in slots(opened.session)
        if state == "inactive"
    ]
    if idle:
        yield SAYS.warning(
            "replication-slots",
            f"nobody reads from {listed(idle)}: WAL piles up until the disk is full",
            "select pg_drop_replication_slot(…), if nobody comes back for it",
        )
    else:
        yield SAYS.ok("replication", "no idle slot")


def locks(opened: Opened) -> Iterator[Check]:
    """What a load would wait for."""
    open_long, prepared = old_transactions(opened.session), prepared_transactions(opened.session)
    if not sees_others(opened.session):
        reason = f"'{opened.target.user}' does not see what other roles do"
        fix = f"grant pg_monitor to {opened.target.user}"
        yield Check(name="locks", area=Area.DATABASE, state=State.UNKNOWN, reason=reason, fix=fix)
        return
    if open_long:
        yield SAYS.warning(
            "old-transactions", listed(open_long), "find out what they wait for; a load needs their locks"
        )
    if prepared:
        yield SAYS.warning(
            "prepared-transactions", f"never ended: {listed(prepared)}", "commit prepared or rollback prepared"
        )
    if not open_long and not prepared:
        yield SAYS.ok("locks", "no transaction is open for long")


def harmless_copy(opened: Opened) -> Iterator[Check]:
    """Whether a copy is reached, starts, and takes nothing from the original's publishers: judged as a plan does."""
    context = opened.context
    try:
        settings = copy_settings(context.facts, context.profile)
    except RowbackError as error:
        yield SAYS.problem("copy-address", error.fact, error.help)
        return
    for name, refuse, well in (
        ("two-phase-commit", refuse_unstartable_copy, "no prepared transaction keeps a copy from starting"),
        ("subscriptions", refuse_subscribing_copy, "a copy takes nothing from a publisher of the original"),
    ):
        try:
            refuse(opened.session, context.facts, settings, context.instances)
            yield SAYS.ok(name, well)
        except RowbackError as error:
            yield SAYS.problem(name, "; ".join([error.fact, *error.facts]), error.help)


def surroundings(opened: Opened) -> Iterator[Check]:
    """What else would see a load, or stand in its way."""
    for line in frozen(opened.session):
        yield SAYS.warning("read-only", line, "alter database … reset default_transaction_read_only, when it is over")
    if names := event_triggers(opened.session):
        yield SAYS.warning(
            "event-triggers",
            f"{listed(names)} see what rowback defines for a load: what they write of it is expected and told",
            "nothing to do",
        )


def references(opened: Opened) -> Iterator[Check]:
    """Declared links between databases."""
    try:
        refuse_unusable_references(opened.target, opened.context.profile)
    except RowbackError as error:
        yield SAYS.problem("references", error.fact, error.help)
        return
    if opened.context.profile.references:
        yield SAYS.ok("references", f"{len(opened.context.profile.references)} declared, all usable")
