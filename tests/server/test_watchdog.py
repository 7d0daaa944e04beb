"""The server ends a writing session whose client is silent, and leaves a busy one alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import psycopg
import pytest

from recovery.errors import RowbackError
from recovery.postgres import watchdog
from recovery.postgres.connect import Session, connect
from recovery.postgres.watchdog import watched
from tests.fix_lab import Database, wait_until

STATE = "nothing was written"
WATCHING = "select count(*) from pg_stat_activity where application_name = 'rowback watch'"


@pytest.fixture
def writer(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """A session on a table, with a watch that takes a second or two instead of ten."""
    monkeypatch.setattr(watchdog, "BEAT_S", 0.3)
    monkeypatch.setattr(watchdog, "SILENT_S", 1)
    monkeypatch.setattr(watchdog, "LOOK_S", 0.2)
    database.run("create table t (n int)", "insert into t values (1)")
    with connect(database.target()) as session:
        yield session


def silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on nothing beats, as if every thread of the process stood still."""
    monkeypatch.setattr(watchdog._Heart, "_beat", lambda self: self._ended.wait())


def test_a_long_statement_of_a_client_that_lives_goes_on(database: Database, writer: Session) -> None:
    with watched(writer, state=STATE), writer.transaction():
        writer.execute("update public.t set n = 2")
        writer.execute("select pg_sleep(3)")
    assert database.rows("select n from t") == [(2,)]
    wait_until(lambda: database.rows(WATCHING) == [(0,)], "the watch goes with the block")


def test_a_client_that_thinks_for_long_goes_on(database: Database, writer: Session) -> None:
    """Idle in its transaction, as where it waits for the copy: alive, and not ended."""
    with watched(writer, state=STATE), writer.transaction():
        writer.execute("update public.t set n = 2")
        threading.Event().wait(3)
        writer.execute("update public.t set n = 3")
    assert database.rows("select n from t") == [(3,)]


def test_a_silent_client_loses_its_transaction(
    database: Database, writer: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    silence(monkeypatch)
    with pytest.raises(RowbackError) as ended, watched(writer, state=STATE), writer.transaction():
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
    """A paced load waits between its portions, and holds nothing then."""
    silence(monkeypatch)
    with watched(writer, state=STATE):
        threading.Event().wait(3)
        with writer.transaction():
            writer.execute("update public.t set n = 2")
    assert database.rows("select n from t") == [(2,)]


def test_no_room_for_the_watch_is_said_before_any_lock(database: Database, writer: Session) -> None:
    database.run("create role tight login password 'tight-login-1' connection limit 2", "grant all on t to tight")
    target = database.target()
    from dataclasses import replace

    with connect(replace(target, user="tight", password="tight-login-1")) as limited:
        with pytest.raises(RowbackError) as refused, watched(limited, state=STATE):
            pytest.fail("the block was entered")
        assert refused.value.exit_code == 30
        assert "too many connections for role" in str(refused.value)
        assert limited.info.transaction_status is psycopg.pq.TransactionStatus.IDLE
    database.run("revoke all on t from tight", "drop role tight")
