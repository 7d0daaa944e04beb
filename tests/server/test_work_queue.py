"""A queue of builds ends when one fails: what runs is cancelled, and what waits is dropped."""

from __future__ import annotations

from contextlib import ExitStack

import psycopg
import pytest

from recovery.postgres.connect import Session, connect
from recovery.postgres.work_queue import WorkQueue
from tests.fix_lab import Database

BUSY = "select count(*) from pg_stat_activity where query like 'select pg_sleep(%' and state = 'active'"


@pytest.mark.parametrize("sessions", [1, 2])
def test_a_failing_build_ends_what_runs_and_what_waits(database: Database, sessions: int) -> None:
    finished: list[int] = []

    def fail(session: Session) -> None:
        session.execute("select 1 / 0")

    def run_for_long(session: Session) -> None:
        session.execute("select pg_sleep(600)")
        finished.append(1)

    with ExitStack() as opened:
        builders = [opened.enter_context(connect(database.target())) for _ in range(sessions)]
        with pytest.raises(psycopg.errors.DivisionByZero), WorkQueue(builders) as queue:
            queue.add(fail)
            for _ in range(4):
                queue.add(run_for_long)
            queue.wait()
        assert database.rows(BUSY) == [(0,)]
        assert finished == []
        assert [session.execute("select 1").fetchall() for session in builders] == [[(1,)]] * sessions
