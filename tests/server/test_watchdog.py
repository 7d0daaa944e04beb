"""The server ends a writing session whose client is silent, and leaves a busy one alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from recovery.errors import RowbackError
from recovery.postgres import lock_watchdog
from recovery.postgres.connect import Session, connect
from recovery.postgres.lock_watchdog import watched
from tests.fix_lab import Database, wait_until

STATE = "nothing was written"
WATCHING = "select count(*) from pg_stat_activity where application_name = 'rowback watch'"


@pytest.fixture
def writer(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """A session on a table, with a watch that takes a second or two instead of ten."""
    monkeypatch.setattr(lock_watchdog, "BEAT_S", 0.3)
    monkeypatch.setattr(lock_watchdog, "SILENT_S", 1)
    monkeypatch.setattr(lock_watchdog, "LOOK_S", 0.2)
    database.run("create table t (n int)", "insert into t values (1)")
    with connect(database.target()) as session:
        yield session


def silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on nothing beats, as if every thread of the process stood still."""
    monkeypatch.setattr(lock_watchdog._Heart, "_beat", lambda self: self._ended.wait())


def test_a_long_statement_of_a_client_that_lives_goes_on(database: Database, writer: Session) -> None:
    with watched(writer, state=STATE, say=pytest.fail), writer.transaction():
        writer.execute("update public.t set n = 2")
        writer.execute("select pg_sleep(3)")
    assert database.rows("select n from t") == [(2,)]
    wait_until(lambda: database.rows(WATCHING) == [(0,)], "the watch goes with the block")


def test_a_client_that_thinks_for_long_goes_on(database: Database, writer: Session) -> None:
    """Idle in its transaction, as where it waits for the copy: alive, and not ended."""
    with watched(writer, state=STATE, say=pytest.fail), writer.transaction():
        writer.execute("update public.t set n = 2")
        threading.Event().wait(3)
        writer.execute("update public.t set n = 3")
    assert database.rows("select n from t") == [(3,)]


def test_a_silent_client_loses_its_transaction(
    database: Database, writer: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    silence(monkeypatch)
    with pytest.raises(RowbackError) as ended, watched(writer, state=STATE, say=pytest.fail), writer.transaction():
        writer.execute("update public.t set n = 2")
        with database.connect() as other:
            other.execute("set lock_timeout = '20s'")
            other.execute("update t set n = n + 10")  # gets its lock while nothing of the writer ran
        writer.execute("select 1")
    assert database.rows("select n from t") == [(11,)]
    assert ended.value.exit_code == 51
    assert ended.value.state == STATE
    assert "the server ended the session that was writing, because this process had been silent for" in ended.value.fact


def test_between_transactions_silence_ends_nothing(
    database: Database, writer: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A paced load waits between its batches, and holds nothing then."""
    silence(monkeypatch)
    with watched(writer, state=STATE, say=pytest.fail):
        threading.Event().wait(3)
        with writer.transaction():
            writer.execute("update public.t set n = 2")
    assert database.rows("select n from t") == [(2,)]


@pytest.mark.parametrize("sessions", [1, 2])
def test_without_room_for_the_watch_it_is_said_and_the_work_goes_on(
    database: Database, writer: Session, sessions: int
) -> None:
    """A full server is a day on which rows are put back as well; of the sessions that were opened none stays."""
    database.run(
        f"create role tight login password 'tight-login-1' connection limit {sessions}", "grant all on t to tight"
    )
    notices: list[str] = []
    with (
        connect(replace(database.target(), user="tight", password="tight-login-1")) as limited,
        watched(limited, state=STATE, say=notices.append),
        limited.transaction(),
    ):
        assert database.rows(WATCHING) == [(0,)]
        limited.execute("update public.t set n = 2")
    assert database.rows("select n from t") == [(2,)]
    (notice,) = notices
    assert notice.startswith("no session can be had to watch over the writing one (")
    assert notice.endswith("stopped while it writes, the tables would stay locked until it goes on")
    assert 'too many connections for role "tight"' in notice
    database.run("revoke all on t from tight", "drop role tight")


def test_a_transaction_over_the_limit_is_ended_and_that_is_said(
    database: Database, writer: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client lives, so it is not said to have been silent; the next step is another than to go on."""
    monkeypatch.setattr(lock_watchdog, "TRANSACTION_LIMIT_S", 1)
    with (
        pytest.raises(RowbackError) as ended,
        watched(writer, state=STATE, say=pytest.fail),
        writer.transaction(),
    ):
        writer.execute("update public.t set n = 2")
        writer.execute("select pg_sleep(30)")
    assert database.rows("select n from t") == [(1,)]
    assert ended.value.exit_code == 51
    assert "the server ended the transaction that was writing, because it had lasted longer than" in ended.value.fact
    assert ended.value.state == STATE
    assert (
        ended.value.help == "load less at once: name fewer tables, or in mode repair: rowback apply with --max-wal-rate"
    )


class LateThread(threading.Thread):
    """A thread that a busy machine lets run only after a while."""

    def run(self) -> None:
        threading.Event().wait(0.5)
        super().run()


def test_work_that_is_over_before_the_watch_began_does_not_wait_for_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cancel came before the statement that it was for, and nothing ended that any more (soak, seed 11976)."""
    monkeypatch.setattr(threading, "Thread", LateThread)
    with connect(database.target()) as session:

        def work() -> None:
            with watched(session, state="nothing was written", say=print):
                session.execute("select 1")

        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        wait_until(lambda: not worker.is_alive(), "the work is over")
    wait_until(lambda: database.rows(WATCHING) == [(0,)], "the watch goes with the block")
