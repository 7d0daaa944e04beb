"""Make the copy inert before anyone uses it: a restored copy is a live twin in the wrong clothes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from psycopg import sql
from psycopg.errors import InsufficientPrivilege

from guards.server_identity import same_server
from recovery.errors import ErrorId, RowbackError
from recovery.model.catalog import DatabaseIdentity
from recovery.postgres.connect import Session, connect, identity_of, one
from recovery.postgres.connection_target import Target

STATE = "nothing was written to the original; the copy still runs"


def make_inert(copy: Target, look: Callable[[], None] = lambda: None) -> dict[str, int]:
    """End prepared transactions, disable subscriptions, then scheduled jobs, then writing.

    Subscriptions would steal the original's slots. Returns how many of each were stopped. RDS's default parameter group
    already keeps pg_cron from loading. `look`: called before any definition of a table is altered.
    """
    with _writable(copy) as session:
        _end_prepared(copy, session)
        subscriptions = session.execute(
            "select d.datname, s.subname from pg_subscription s join pg_database d on d.oid = s.subdbid"
            " where s.subenabled order by 1, 2"
        ).fetchall()
        databases = [
            row[0]
            for row in session.execute(
                "select datname from pg_database where datallowconn and datname <> 'rdsadmin'"
                " and has_database_privilege(oid, 'CONNECT') and not datistemplate order by 1"
            )
        ]
        for database, name in subscriptions:
            with _writable(copy.to(database)) as session_on_copy:
                session_on_copy.execute(sql.SQL("alter subscription {} disable").format(sql.Identifier(name)))
        look()
        for database in databases:
            _lift_forced_row_security(copy.to(database))
        jobs = sum(_stop_jobs(copy.to(database)) for database in databases)
        # Sessions of this role start read-only from now on; ours say so again when they connect.
        session.execute("alter role current_user set default_transaction_read_only = on")
    return {"subscriptions_disabled": len(subscriptions), "jobs_stopped": jobs, "databases": len(databases)}


def prove_copy(original: Session, copy: Session, expected: DatabaseIdentity) -> DatabaseIdentity:
    """The identity of `copy`: another running server than `original`, and a physical copy of its cluster.

    `expected`: the original's identity as planned. Raises same-server, and instance-unsuitable for a server of another
    cluster.
    """
    if same_server(original, copy):
        raise RowbackError(
            ErrorId.SAME_SERVER,
            "the copy's address leads to the original itself",
            state="nothing was written",
            help="check DNS, tunnels and security groups; the two endpoints must be different servers",
        )
    identity = identity_of(copy)
    upgraded = identity.server_version_num // 10000 != expected.server_version_num // 10000
    if identity.system_identifier != expected.system_identifier and not upgraded:
        raise RowbackError(
            ErrorId.INSTANCE_UNSUITABLE,
            f"what was restored is no copy of the original: system identifier {identity.system_identifier},"
            f" not {expected.system_identifier}",
            state=STATE,
            help="check which instance the plan names; make a new plan",
        )
    return identity


@contextmanager
def _writable(copy: Target) -> Iterator[Session]:
    """A session that may write even when an earlier, interrupted run made the role read-only already."""
    with connect(copy, state=STATE) as session:
        session.execute("set default_transaction_read_only = off")
        yield session


def _end_prepared(copy: Target, session: Session) -> None:
    """Transactions that were prepared and pending at T had not committed by T.

    On the copy they are rolled back, so that their locks block no query. One of another role stays, and what waits for
    it gives up (RecoveryRun.copy).
    """
    for gid, database in session.execute("select gid, database from pg_prepared_xacts").fetchall():
        with _writable(copy.to(database)) as session_on_copy, suppress(InsufficientPrivilege):
            session_on_copy.execute(sql.SQL("rollback prepared {}").format(sql.Literal(gid)))


def _lift_forced_row_security(copy: Target) -> None:
    """What a policy hides even from a table's owner is to be counted: on a copy that is thrown away."""
    with _writable(copy) as session:
        names = session.execute(
            "select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace"
            " where c.relrowsecurity and c.relforcerowsecurity and pg_has_role(c.relowner, 'USAGE')"
        ).fetchall()
        for name in names:
            session.execute(sql.SQL("alter table {} no force row level security").format(sql.Identifier(*name)))


def _stop_jobs(copy: Target) -> int:
    with _writable(copy) as session:
        # Not preloaded (RDS's default parameter group) nothing runs, and touching cron.job would even fail.
        if "pg_cron" not in str(one(session, "show shared_preload_libraries")):
            return 0
        if not one(session, "select exists (select from pg_extension where extname = 'pg_cron')"):
            return 0
        return session.execute("select cron.alter_job(jobid, active := false) from cron.job where active").rowcount
