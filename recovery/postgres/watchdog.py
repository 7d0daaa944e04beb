"""No lock without an end: the server itself ends a writing session whose client has fallen silent.

A laptop that sleeps between LOCK and COMMIT, or a process that is stopped, holds its locks as long as the server waits
for it, and inside COPY the server knows no timeout at all. So one more session beats, by an empty question every second
or two, and another one runs a loop on the server that watches the beat. When it stops while the writing session is in
a transaction, the loop ends that session: its transaction is rolled back and its locks are free. Nothing of this needs
the client, so it works however the client is held up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import LiteralString

import psycopg
from psycopg import sql

from recovery.errors import ErrorId, RowbackError
from recovery.postgres.connect import Session, Target, connect, one

BEAT_S, SILENT_S, LOOK_S = 1.5, 8, 1
# What the server does by itself where the loop could not: between two statements, and at the very last.
IDLE: LiteralString = "set idle_in_transaction_session_timeout = '60s'"
TRANSACTION_LIMIT_S = 6 * 3600
APPLICATION = "rowback watch"

# Times are the server's. `state_change` is that of the beating session's last question.
_LOOP = """
begin
  loop
    perform pg_sleep({look});
    perform pg_stat_clear_snapshot();
    if not exists (select from pg_stat_activity where pid = {writer} and backend_start = {writer_since}) then
      return;
    end if;
    perform pg_terminate_backend(w.pid) from pg_stat_activity w
    where w.pid = {writer} and w.backend_start = {writer_since} and w.xact_start is not null
      and (w.xact_start < clock_timestamp() - {limit} * interval '1 second' or not exists (
        select from pg_stat_activity b where b.pid = {beat} and b.backend_start = {beat_since}
          and (b.state_change is null or b.state_change > clock_timestamp() - {silent} * interval '1 second')));
  end loop;
end
"""


@contextmanager
def watched(writer: Session, *, state: str) -> Iterator[None]:
    """Inside, transactions of `writer` end within seconds of this process falling silent.

    Opens two more sessions on the same database before any lock is held. Raises server-unreachable where they cannot be
    had, and stopped-midway, saying `state`, when the session was ended because this process had been silent.
    """
    writer.execute(IDLE)
    target = writer.target
    with ExitStack() as opened:
        beat = opened.enter_context(connect(target.named(APPLICATION)))
        watch = opened.enter_context(connect(target.named(APPLICATION)))
        heart = _Heart(beat)
        opened.enter_context(heart)
        opened.enter_context(_loop(watch, writer, beat))
        try:
            yield
        except psycopg.OperationalError as error:
            if heart.silent_s < SILENT_S:
                raise
            raise _silent(target, heart.silent_s, state) from error


class _Heart:
    """Asks an empty question every BEAT_S seconds, in a thread of its own."""

    def __init__(self, session: Session) -> None:
        self._session, self._ended = session, threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._beat_at, self._longest_s = time.time(), 0.0

    @property
    def silent_s(self) -> float:
        """The longest silence so far, by this machine's clock, which goes on while the machine sleeps."""
        return max(self._longest_s, time.time() - self._beat_at)

    def __enter__(self) -> _Heart:
        self._session.execute("select")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _beat(self) -> None:
        with suppress(psycopg.Error):  # without a beat the loop ends the writer, who then says why
            while not self._ended.wait(BEAT_S):
                self._session.execute("select")
                now = time.time()
                self._longest_s, self._beat_at = max(self._longest_s, now - self._beat_at), now


@contextmanager
def _loop(watch: Session, writer: Session, beat: Session) -> Iterator[None]:
    """The loop on the server, for as long as the block lasts."""
    body = sql.SQL(_LOOP).format(
        look=LOOK_S, silent=SILENT_S, limit=TRANSACTION_LIMIT_S, writer=writer.info.backend_pid,
        writer_since=_since(writer), beat=beat.info.backend_pid, beat_since=_since(beat),
    ).as_string(watch)  # fmt: skip
    running = threading.Thread(
        target=_run, args=(watch, sql.SQL("/* rowback */ do {}").format(sql.Literal(body))), daemon=True
    )
    running.start()
    try:
        yield
    finally:
        with suppress(psycopg.Error):
            watch.cancel_safe()
        running.join()


def _run(watch: Session, statement: sql.Composed) -> None:
    with suppress(psycopg.Error):  # cancelled at the end, or cut off like everything else
        watch.execute(statement)


def _since(session: Session) -> sql.Literal:
    """When its backend began: process ids are used again."""
    text = one(session, "select backend_start::text from pg_stat_activity where pid = pg_backend_pid()")
    return sql.Literal(text)


def _silent(target: Target, silent_s: float, state: str) -> RowbackError:
    return RowbackError(
        ErrorId.STOPPED_MIDWAY,
        f"{target.label}, database '{target.database}': the server ended the session that was writing, because this"
        f" process had been silent for {silent_s:.0f} s",
        "so no table stays locked by a machine that sleeps or a process that was stopped",
        state=state, help="go on where it stopped",
    )  # fmt: skip
