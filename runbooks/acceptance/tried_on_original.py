"""What is tried on the original itself, and what is put into it so that its copies can show something."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import LiteralString

import psycopg
from psycopg import sql

from recovery.errors import ErrorId, RowbackError
from recovery.postgres.comparison.row_lineage import next_xid
from recovery.postgres.connect import Session, one
from runbooks.acceptance.assumptions import Answer
from runbooks.acceptance.findings import Findings
from runbooks.acceptance.tried_logins import IamUser, make_iam_user
from runbooks.drills.drill_measures import digests

NAME = "rowback_acceptance"  # of the slot, the subscription, the prepared transaction
BLOCK_ROW_BYTES = 1000
# The master user is a member of the role only for as long as the table is made.
BY_AN_APPLICATION: tuple[LiteralString, ...] = (
    "create role rowback_acceptance_app",
    "grant rowback_acceptance_app to current_user",
    "grant create on schema public to rowback_acceptance_app",
    "set role rowback_acceptance_app",
    "create table public.of_application (id int primary key)",
    "insert into public.of_application values (1)",
    "reset role",
    "revoke rowback_acceptance_app from current_user",
)
# What would keep the database from being dropped, and what lies beside it: where the first is so, the others are done.
CLEARING: tuple[tuple[LiteralString, tuple[LiteralString, ...]], ...] = (
    (
        "select count(*) from pg_prepared_xacts where gid = 'rowback_acceptance'",
        ("rollback prepared 'rowback_acceptance'",),
    ),
    (
        "select count(*) from pg_subscription where subname = 'rowback_acceptance'",
        (
            "alter subscription rowback_acceptance disable",
            "alter subscription rowback_acceptance set (slot_name = none)",
            "drop subscription rowback_acceptance",
        ),
    ),
    (
        "select count(*) from pg_replication_slots where slot_name = 'rowback_acceptance'",
        ("select pg_drop_replication_slot('rowback_acceptance')",),
    ),
    (
        "select count(*) from pg_roles where rolname = 'rowback_acceptance_app'",
        (
            "grant rowback_acceptance_app to current_user",
            "drop owned by rowback_acceptance_app",
            "drop role rowback_acceptance_app",
        ),
    ),
    (
        "select count(*) from pg_roles where rolname = 'rowback_acceptance_iam'",
        ("drop role rowback_acceptance_iam",),
    ),
)


@dataclass(frozen=True)
class Furnished:
    """What the original held at `target_time`, and what of it a copy can show.

    `next_xid`: of the original at that time; `lost`: count and digest of the table that is damaged after it.
    """

    target_time: datetime
    next_xid: int
    lost: tuple[int, str]
    has_prepared: bool
    has_slot: bool
    has_subscription: bool
    iam_user: IamUser | None


def furnish(session: Session, data_mib: int, findings: Findings) -> Furnished:
    """Fill the database, let a second pass, then delete rows. Settles 13 and 14."""
    _fill(session, data_mib)
    _try_application_table(session, findings)
    _try_event_trigger(session, findings)
    iam_user = make_iam_user(session, findings)
    slot = _allowed(session, "select pg_create_logical_replication_slot('rowback_acceptance', 'test_decoding')")
    subscription = _subscribe(session)
    prepared = _prepare(session)
    before = digests(session)["public.lost"]
    xid, target = next_xid(session), _pass_a_second(session)
    session.execute("delete from public.lost where id % 3 = 0")
    return Furnished(target, xid, before, prepared, slot, subscription, iam_user)


def _fill(session: Session, data_mib: int) -> None:
    session.execute("create table public.lost (id int primary key, word text)")
    session.execute("insert into public.lost select generate_series(1, 5000), md5(random()::text)")
    session.execute("create table public.blocks (id bigint primary key, filler text)")
    session.execute("alter table public.blocks alter filler set storage plain")
    session.execute(
        "insert into public.blocks select n, rpad(md5(n::text), %s, 'x') from generate_series(1, %s) as n",
        (BLOCK_ROW_BYTES, data_mib * 2**20 // BLOCK_ROW_BYTES),
    )
    session.execute("analyze public.blocks")


def _try_application_table(session: Session, findings: Findings) -> None:
    try:
        for statement in BY_AN_APPLICATION:
            session.execute(statement)
        rows = one(session, "select count(*) from public.of_application")
        findings.judge(13, holds=rows == 1, seen=f"{rows} row of the application's table was read")
    except psycopg.errors.InsufficientPrivilege as error:
        session.execute("reset role")
        findings.settle(13, Answer.REFUTED, str(error))


def _try_event_trigger(session: Session, findings: Findings) -> None:
    """As AWS DMS makes one: it writes down every DDL command."""
    session.execute("create table public.commands (tag text)")
    session.execute(
        "create function public.write_down() returns event_trigger language plpgsql as"
        " 'begin insert into public.commands values (tg_tag); end'"
    )
    try:
        session.execute(
            "create event trigger rowback_acceptance on ddl_command_end execute function public.write_down()"
        )
    except psycopg.errors.InsufficientPrivilege as error:
        findings.settle(14, Answer.UNKNOWN, f"not allowed: {error}")
        return
    session.execute("alter table public.lost disable trigger user")
    session.execute("alter table public.lost enable trigger user")
    session.execute("drop event trigger rowback_acceptance")
    fired = one(session, "select count(*) from public.commands")
    findings.judge(14, holds=fired >= 2, seen=f"it fired {fired} times for two commands")


def _subscribe(session: Session) -> bool:
    """One that is enabled and reaches no publisher."""
    conninfo = "host=127.0.0.1 port=1 dbname=nowhere user=nobody password=none"
    create = sql.SQL(
        "create subscription rowback_acceptance connection {} publication nothing"
        " with (connect = false, slot_name = {})"
    ).format(sql.Literal(conninfo), sql.Literal(NAME))
    return _allowed(session, create) and _allowed(session, "alter subscription rowback_acceptance enable")


def _prepare(session: Session) -> bool:
    if int(one(session, "show max_prepared_transactions")) == 0:
        return False
    session.execute("create table public.pending (id int)")
    session.execute("begin")
    session.execute("insert into public.pending values (1)")
    session.execute("prepare transaction 'rowback_acceptance'")
    return True


def _allowed(session: Session, statement: LiteralString | sql.Composed) -> bool:
    try:
        session.execute(statement)
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ObjectNotInPrerequisiteState):
        return False
    return True


def _pass_a_second(session: Session) -> datetime:
    """A whole second of the server's own clock that lies behind everything written so far."""
    end = one(session, "select extract(epoch from clock_timestamp())::bigint + 1")
    while one(session, "select extract(epoch from clock_timestamp())::float8") <= end:
        time.sleep(0.01)
    return datetime.fromtimestamp(end, UTC)


@contextlib.contextmanager
def own_database(admin: Session, database: str) -> Iterator[None]:
    """A database in a named instance, removed in the end with all that was put beside it.

    Raises case-open where it is there already: what another run left is another's until that is dropped.
    """
    name = sql.Identifier(database)
    if one(admin, "select count(*) from pg_database where datname = %s", (database,)):
        raise RowbackError(
            ErrorId.CASE_OPEN,
            f"database '{database}' is there already, of another run or one that was killed",
            state="nothing was created, nothing was written",
            help=f'when no run is under way: drop database "{database}" (its slot, subscription and prepared'
            " transaction of the same name first)",
        )
    admin.execute(sql.SQL("create database {}").format(name))
    try:
        yield
    finally:
        admin.execute(sql.SQL("drop database {} with (force)").format(name))


@contextlib.contextmanager
def cleared_away(session: Session) -> Iterator[None]:
    """What hinders the removal of the database, and the role, are removed in the end."""
    try:
        yield
    finally:
        for is_there, statements in CLEARING:
            for statement in statements if one(session, is_there) else ():
                session.execute(statement)
