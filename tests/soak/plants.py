"""Faults planted into the product, to see that the invariants report them.

Each acts inside the load's transaction after everything was proven, in the last moment before the commit.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from recovery.changeset.change_set import ChangeSet
from recovery.model.account import Account
from recovery.postgres.connect import Session
from recovery.reload.load_transaction import load
from recovery.workflow import undo_case as undoing
from recovery.workflow.steps import load_step as loading
from tests.soak import product

Plant = Callable[[Session], object]
PLANTED = "planted by tests.soak"


def before_commit_of_load(patch: pytest.MonkeyPatch, plant: Plant) -> None:
    """Have every load do something more."""
    patch.setattr(loading, "load", _with(load, plant))


def before_commit_of_undo(patch: pytest.MonkeyPatch, plant: Plant) -> None:
    """Have every undo do something more."""
    patch.setattr(undoing, "load", _with(load, plant))


def _with(do: Callable[..., Any], plant: Plant) -> Callable[..., Any]:
    def load_and_more(live: Session, *rest: Any, before_commit: Callable[[Any], None]) -> Any:
        def more(done: Any) -> None:
            before_commit(done)
            plant(live)

        return do(live, *rest, before_commit=more)

    return load_and_more


def drop_a_row(live: Session) -> None:
    live.execute("delete from public.t where n = 1")


def alter_a_row(live: Session) -> None:
    live.execute("update public.t set name = 'planted' where n = 3")


def touch_a_stranger(live: Session) -> None:
    """A row that the incident left alone."""
    live.execute("update public.t set name = 'planted' where n = 7")


def overwrite_others(live: Session) -> None:
    live.execute("update public.t set val = val - 1, w = 'writer planted' where n >= 1000")


def delete_of_others(live: Session) -> None:
    live.execute("delete from public.t where n >= 1000")


def show_half(live: Session) -> None:
    """Commit in the middle, without a part of the rows."""
    live.execute("create temp table part as select * from public.t where n in (1, 3)")
    live.execute("delete from public.t where n in (1, 3)")
    live.pgconn.exec_(b"commit")
    live.execute("select pg_sleep(0.3)")
    live.pgconn.exec_(b"begin")
    live.execute("insert into public.t select * from part")


def forget_images(live: Session) -> None:
    """No before-images."""
    for schema, name in live.execute(
        "select schemaname, tablename from pg_tables where schemaname like 'rowback\\_case\\_%'"
    ).fetchall():
        live.execute(sql.SQL("delete from {}").format(sql.Identifier(schema, name)))


def leave_trigger_off(live: Session) -> None:
    live.execute("alter table public.t disable trigger stamp")


def leave_schema(live: Session) -> None:
    live.execute("create schema rowback_scratch")


def leave_session(live: Session) -> None:
    """A session that outlives its process."""
    script = "import psycopg, signal, sys; kept = psycopg.connect(sys.argv[1]); signal.pause()"
    dsn = f"{live.info.dsn} application_name=rowback"
    subprocess.Popen([sys.executable, "-c", script, dsn, PLANTED], start_new_session=True)
    while live.execute("select count(*) from pg_stat_activity where application_name = 'rowback'").fetchone() == (1,):
        live.execute("select pg_stat_clear_snapshot(), pg_sleep(0.01)")


def leave_file(live: Session) -> None:
    """A file beside the cases."""
    (Path(os.environ["ROWBACK_HOME"]) / "scratch").mkdir()
    (Path(os.environ["ROWBACK_HOME"]) / "scratch" / "rows").write_text("rows")


def fail(live: Session) -> None:
    """An error that rowback does not expect."""
    raise RuntimeError(PLANTED)


def die(live: Session) -> None:
    """An end by a signal that is no fault of the schedule."""
    os.kill(os.getpid(), signal.SIGUSR1)


def keep_new_rows(patch: pytest.MonkeyPatch) -> None:
    """A comparison that forgets to delete what T does not have."""
    patch.setattr(ChangeSet, "delete_new", lambda changes, no: None)


def deny_rows(patch: pytest.MonkeyPatch) -> None:
    """An account in which nothing is missing."""
    patch.setattr(product, "account_of", lambda case: Account())
