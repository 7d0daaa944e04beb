"""The three tiers on one server: rolled back, restored, cloned."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from guards.connection_words import shown
from guards.guard_session import active
from guards.isolation.background_pool import Pool
from guards.isolation.isolation_marks import KEPT, mark, new_name, reap
from guards.isolation.reset_database import Baseline, next_transaction
from guards.isolation.template_database import Migrations, ensure_template
from guards.isolation.throwaway_cluster import keep, sweep, throw_away
from guards.isolation.throwaway_server import Server, server_at
from guards.refusal import GuardError
from guards.same_kernel import Backend
from guards.verdict import Verdict

LASTS_S = 86400.0
_LOG = logging.getLogger("rowback.guards")


@dataclass
class Database:
    """A database for one test. `born`: the transaction id before which everything in it was made.

    `cleaner`: the session that puts it back; it stays, for a new one takes longer than the work.
    """

    name: str
    dsn: str = field(repr=False)
    born: str
    kept: bool = False
    cleaner: psycopg.Connection[Any] | None = field(default=None, repr=False)

    @property
    def shown(self) -> str:
        """The DSN as it may be printed: without its password."""
        return shown(psycopg.conninfo.conninfo_to_dict(self.dsn))


@contextmanager
def open_databases(
    migrations: Migrations | None = None, *, dsn: str | None = None, run: str | None = None
) -> Iterator[Databases]:
    """Databases for the tests of this process, gone when it leaves.

    `dsn`: a server that may hold them; without it a throw-away cluster is started, which those who name the same `run`
    share. Raises GuardError: not-disposable, server-unreachable, migration-failed, no-postgresql.
    """
    with ExitStack() as stack:
        home = None
        if dsn is None:
            sweep()
            dsn, home = stack.enter_context(throw_away(run))
        server = server_at(dsn)
        if home is None:
            reap(server)
        databases = Databases(server, ensure_template(server, migrations or Migrations.none()), home)
        stack.callback(databases.close)
        yield databases


@dataclass
class Databases:
    """`home`: the directory of a cluster of our own; None on a server that is not ours."""

    server: Server
    template: str
    home: Path | None

    @contextmanager
    def rolled_back(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection inside a transaction that is rolled back at the end, in a database that such tests share.

        A commit() is an error; what the test wraps in `connection.transaction()` is a savepoint. Sequences go on.
        """
        with psycopg.connect(self._shared.dsn) as connection, connection.transaction(force_rollback=True):
            connection.execute("savepoint rowback")
            try:
                yield connection
            finally:
                self._back_to_savepoint(connection)

    def _back_to_savepoint(self, connection: psycopg.Connection[Any]) -> None:
        """It is gone when COMMIT was sent past psycopg: others must not see what was written then."""
        try:
            connection.execute("rollback to savepoint rowback")
        except (psycopg.errors.InvalidSavepointSpecification, psycopg.errors.NoActiveSqlTransaction) as error:
            shared = self._shared
            del self._shared
            self._end(shared)
            raise GuardError(
                "usage",
                "the test ended the transaction that was to be rolled back",
                state="its database was given up, the next test gets another",
                help="a test that commits takes rowback_restored or rowback_database",
            ) from error

    @contextmanager
    def restored(self) -> Iterator[Database]:
        """A database whose dirty tables and sequences are put back after use, by the pool's thread.

        One whose definitions or settings were changed is given up. Other sessions in it are ended afterwards.
        """
        yield from self._lent(self._used)

    @contextmanager
    def clone(self) -> Iterator[Database]:
        """A fresh copy of the template, never used before."""
        yield from self._lent(self._fresh)

    def _lent(self, pool: Pool[Database]) -> Iterator[Database]:
        database = pool.take()
        with ExitStack() as unless_fine:
            unless_fine.callback(self.keep, database, "an exception came through it")
            yield database
            unless_fine.pop_all()
        if not database.kept:
            pool.give_back(database)

    def keep(self, database: Database, why: str) -> None:
        """Keep the database for a day (an hour on a temporary cluster) and log how to connect to it."""
        database.kept = True
        if self.home and not os.environ.get("CI"):
            keep(self.home)
        mark(self._admin, self.server, database.name, reason=f"{KEPT}{why}", seconds=LASTS_S)
        _LOG.warning("kept because %s: %s", why, database.shown)

    def close(self) -> None:
        """Drop the databases that are left. On a temporary cluster they go with it."""
        for name in ("_used", "_fresh"):
            if name in vars(self):
                vars(self)[name].close()
        if "_shared" in vars(self):
            self._end(self._shared)
        if "_admin" in vars(self):
            self._admin.close()

    @cached_property
    def _admin(self) -> psycopg.Connection[Any]:
        """One session for everything that is made and ended here; psycopg lets threads take turns in it."""
        return self.server.connect()

    @cached_property
    def _fresh(self) -> Pool[Database]:
        return Pool(self._make, end=self._end)

    @cached_property
    def _used(self) -> Pool[Database]:
        return Pool(self._make, renew=self._renew, end=self._end)

    @cached_property
    def _shared(self) -> Database:
        return self._make()

    def _make(self) -> Database:
        name = new_name()
        fast = self._admin.info.server_version >= 150000 and self.server.judgement.evidence.fsync_off
        self._admin.execute(
            sql.SQL("create database {} template {} {}").format(
                sql.Identifier(name), sql.Identifier(self.template), sql.SQL("strategy file_copy" if fast else "")
            )
        )
        oid = mark(self._admin, self.server, name, reason="test database", seconds=LASTS_S)
        self._vouch(name, oid or 0)
        return Database(name, self.server.dsn(name), next_transaction(self._admin))

    def _vouch(self, name: str, oid: int) -> None:
        guard, ours = active(), self.server.backend
        if guard and ours:
            judgement = self.server.judgement
            identity = replace(judgement.evidence.identity, database=name, database_oid=oid)
            verdict = Verdict(disposable=True, proofs=("this process made it",), vetoes=(), missing=(), by_owner=True)
            backend = Backend(ours.postmaster_pid, ours.postmaster_started, ours.role, name)
            guard.vouch(
                backend, replace(judgement, evidence=replace(judgement.evidence, identity=identity), verdict=verdict)
            )

    def _renew(self, database: Database) -> bool:
        """Whether it could be put back.

        What keeps us from it (a trigger that forbids, a session that was ended) makes the database useless, not the
        pool.
        """
        try:
            return self._restore(database)
        except psycopg.Error as error:
            _LOG.info("%s is given up: %s", database.name, error)
            return False

    def _restore(self, database: Database) -> bool:
        if database.cleaner is None:
            database.cleaner = self.server.connect(database.name)
        cleaner = database.cleaner
        cleaner.execute(
            "select pg_terminate_backend(pid, 1000) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'"
        )
        if not self._baseline.restore(cleaner, database.born):
            return False
        database.born = next_transaction(cleaner)
        return True

    @cached_property
    def _baseline(self) -> Baseline:
        untouched = self._make()
        try:
            with self.server.connect(untouched.name) as connection:
                return Baseline.of(connection)
        finally:
            self._end(untouched)

    def _end(self, database: Database) -> None:
        if database.cleaner:
            database.cleaner.close()
        try:
            self._admin.execute(
                sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(database.name))
            )
        except psycopg.Error as error:
            _LOG.warning("%s stays until it is reaped: %s", database.name, error)
