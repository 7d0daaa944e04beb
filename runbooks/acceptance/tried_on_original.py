"""What is tried on the original itself, and what is put into it so that its copies can show something."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import LiteralString

import psycopg
from psycopg import sql

from recovery.postgres.comparison.row_lineage import next_xid
from recovery.postgres.connect import Session, connect, one
from recovery.postgres.connection_target import Target
from runbooks.acceptance.assumptions import Answer
from runbooks.acceptance.findings import Findings
from runbooks.acceptance.tried_logins import IamUser, make_iam_user
from runbooks.drills.drill_measures import digests

BLOCK_ROW_BYTES = 1000
# The master user is a member of the role only for as long as the table is made.
BY_AN_APPLICATION: tuple[LiteralString, ...] = (
    "create role {app}",
    "grant {app} to current_user",
    "grant create on schema public to {app}",
    "set role {app}",
    "create table public.of_application (id int primary key)",
    "insert into public.of_application values (1)",
    "reset role",
    "revoke {app} from current_user",
)
# As AWS DMS makes one: it writes down every DDL command.
EVENT_TRIGGER: tuple[LiteralString, ...] = (
    "create table public.commands (tag text)",
    "create function public.write_down() returns event_trigger language plpgsql as"
    " 'begin insert into public.commands values (tg_tag); end'",
    "create event trigger {name} on ddl_command_end execute function public.write_down()",
    "alter table public.lost disable trigger user",
    "alter table public.lost enable trigger user",
    "drop event trigger {name}",
)
# What would keep the database from being dropped, and what lies beside it: where the first is so, the others are done.
CLEARING: tuple[tuple[LiteralString, tuple[LiteralString, ...]], ...] = (
    ("select count(*) from pg_prepared_xacts where gid = {text}", ("rollback prepared {text}",)),
    (
        "select count(*) from pg_subscription where subname = {text}",
        (
            "alter subscription {name} disable",
            "alter subscription {name} set (slot_name = none)",
            "drop subscription {name}",
        ),
    ),
    (
        "select count(*) from pg_replication_slots where slot_name = {text}",
        ("select pg_drop_replication_slot({text})",),
    ),
    (
        "select count(*) from pg_roles where rolname = {app_text}",
        ("grant {app} to current_user", "drop owned by {app}", "drop role {app}"),
    ),
    ("select count(*) from pg_roles where rolname = {iam_text}", ("drop role {iam}",)),
)


@dataclass(frozen=True)
class RunNames:
    """What a run calls things in a server. `name`: the database, slot, subscription, transaction and event trigger.

    It is no other run's, so whatever has it was made by this one.
    """

    name: str

    @property
    def iam_user(self) -> str:
        """A user in rds_iam."""
        return f"{self.name}_iam"

    def fill(self, statement: LiteralString) -> sql.Composed:
        """A statement with the names in their places."""
        app = f"{self.name}_app"
        return sql.SQL(statement).format(
            name=sql.Identifier(self.name),
            text=sql.Literal(self.name),
            app=sql.Identifier(app),
            app_text=sql.Literal(app),
            iam=sql.Identifier(self.iam_user),
            iam_text=sql.Literal(self.iam_user),
        )


@dataclass(frozen=True)
class Furnishing:
    """What is put in. `subscribes`: the copies are kept from taking from a publisher, so a subscription may be."""

    names: RunNames
    data_mib: int
    subscribes: bool


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


def furnish(session: Session, what: Furnishing, findings: Findings) -> Furnished:
    """Fill the database, let a second pass, then delete rows. Settles 13 and 14."""
    names = what.names
    _fill(session, what.data_mib)
    _try_application_table(session, names, findings)
    _try_event_trigger(session, names, findings)
    iam_user = make_iam_user(session, names.iam_user, findings)
    slot = _allowed(session, names.fill("select pg_create_logical_replication_slot({text}, 'test_decoding')"))
    subscription = what.subscribes and _subscribe(session, names)
    prepared = _prepare(session, names)
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


def _try_application_table(session: Session, names: RunNames, findings: Findings) -> None:
    try:
        for statement in BY_AN_APPLICATION:
            session.execute(names.fill(statement))
        rows = one(session, "select count(*) from public.of_application")
        findings.judge(13, holds=rows == 1, seen=f"{rows} row of the application's table was read")
    except psycopg.errors.InsufficientPrivilege as error:
        session.execute("reset role")
        findings.settle(13, Answer.REFUTED, str(error))


def _try_event_trigger(session: Session, names: RunNames, findings: Findings) -> None:
    try:
        for statement in EVENT_TRIGGER:
            session.execute(names.fill(statement))
    except psycopg.errors.InsufficientPrivilege as error:
        findings.settle(14, Answer.UNKNOWN, f"not allowed: {error}")
        return
    fired = one(session, "select count(*) from public.commands")
    findings.judge(14, holds=fired >= 2, seen=f"it fired {fired} times for two commands")


def _subscribe(session: Session, names: RunNames) -> bool:
    """One that is enabled and reaches no publisher."""
    create = names.fill(
        "create subscription {name} connection 'host=127.0.0.1 port=1 dbname=nowhere user=nobody password=none'"
        " publication nothing with (connect = false, slot_name = {text})"
    )
    return _allowed(session, create) and _allowed(session, names.fill("alter subscription {name} enable"))


def _prepare(session: Session, names: RunNames) -> bool:
    if int(one(session, "show max_prepared_transactions")) == 0:
        return False
    session.execute("create table public.pending (id int)")
    session.execute("begin")
    session.execute("insert into public.pending values (1)")
    session.execute(names.fill("prepare transaction {text}"))
    return True


def _allowed(session: Session, statement: sql.Composed) -> bool:
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
def own_database(way: Callable[[str], Target], beside: str, names: RunNames) -> Iterator[None]:
    """A database in a named instance, removed in the end with all that was put beside it.

    `way`: leads to a database of the instance; `beside`: one that is there. Each step logs in anew: a session that
    lives as long as a run may be cut.
    """
    with connect(way(beside)) as admin:
        admin.execute(names.fill("create database {name}"))
    try:
        yield
    finally:
        state = f"'{names.name}' may be there still: its prepared transaction, subscription, slot, roles and database"
        with connect(way(names.name), state=state) as session:
            for is_there, statements in CLEARING:
                for statement in statements if one(session, names.fill(is_there)) else ():
                    session.execute(names.fill(statement))
        with connect(way(beside), state=state) as admin:
            admin.execute(names.fill("drop database {name} with (force)"))
