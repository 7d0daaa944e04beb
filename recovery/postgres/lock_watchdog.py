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
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import LiteralString

import psycopg
from psycopg import sql

from recovery.errors import ErrorId, RowbackError
from recovery.postgres.connect import Session, connect, one
from recovery.postgres.connection_target import Target

BEAT_S, SILENT_S, LOOK_S = 1.5, 8, 1
CANCEL_AGAIN_S = 0.2
# What the server does by itself where the loop could not: between two statements, and at the very last.
IDLE: LiteralString = "set idle_in_transaction_session_timeout = '60s'"
TRANSACTION_LIMIT_S = 24 * 3600
APPLICATION = "rowback watch"
OVER_LIMIT = "over the limit"

# Times are the server's. `state_change` is that of the beating session's last question.
_LOOP = """
declare over boolean;
begin
  loop
    perform pg_sleep({look});
    perform pg_stat_clear_snapshot();
    if not exists (select from pg_stat_activity where pid = {writer} and backend_start = {writer_since}) then
      return;
    end if;
    select w.xact_start < clock_timestamp() - {limit} * interval '1 second' into over from pg_stat_activity w
    where w.pid = {writer} and w.backend_start = {writer_since} and w.xact_start is not null;
    if over then
      raise warning {over_limit};
    end if;
    if over or found and not exists (
        select from pg_stat_activity b where b.pid = {beat} and b.backend_start = {beat_since}
          and (b.state_change is null or b.state_change > clock_timestamp() - {silent} * interval '1 second')) then
      perform pg_terminate_backend({writer});
    end if;
  end loop;
end
"""


@contextmanager
def watched(writer: Session, *, state: str, say: Callable[[str], None]) -> Iterator[None]:
    """Inside, transactions of `writer` end within seconds of this process falling silent.

    Opens two more sessions on the same database before any lock is held. Where they cannot be had (a server or a role
    at its connection limit), the work goes on unwatched, and `say` tells so. Raises stopped-midway, saying `state`,
    when the session was ended because this process had been silent or the transaction outlasted TRANSACTION_LIMIT_S.
    """
    writer.execute(IDLE)
    target = writer.target.named(APPLICATION)
    with ExitStack() as opened:
        try:
            beat, watch = opened.enter_context(connect(target)), opened.enter_context(connect(target))
        except RowbackError as error:
            opened.close()
            reason = ": ".join((error.fact, *error.facts))
            say(
                f"no session can be had to watch over the writing one ({reason}): were this process to be"
                " stopped while it writes, the tables would stay locked until it goes on"
            )
            yield
            return
        heart, loop = _Heart(beat), _Loop(watch, writer, beat)
        try:
            with heart, loop:
                yield
        except psycopg.OperationalError as error:
            if loop.over_limit:
                raise _over_limit(target, state) from error
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


class _Loop:
    """The loop on the server, while the block lasts. `over_limit`: it ended a transaction that took too long."""

    def __init__(self, watch: Session, writer: Session, beat: Session) -> None:
        self._watch, self.over_limit = watch, False
        watch.add_notice_handler(self._notice)
        body = (
            sql.SQL(_LOOP)
            .format(
                look=LOOK_S,
                silent=SILENT_S,
                limit=TRANSACTION_LIMIT_S,
                over_limit=OVER_LIMIT,
                writer=writer.info.backend_pid,
                writer_since=_since(writer),
                beat=beat.info.backend_pid,
                beat_since=_since(beat),
            )
            .as_string(watch)
        )
        self._statement = sql.SQL("/* rowback */ do {}").format(sql.Literal(body))
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> _Loop:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        while self._thread.is_alive():  # a cancel that comes before the statement has begun cancels nothing
            with suppress(psycopg.Error):
                self._watch.cancel_safe()
            self._thread.join(CANCEL_AGAIN_S)

    def _run(self) -> None:
        with suppress(psycopg.Error):  # cancelled at the end, or cut off like everything else
            self._watch.execute(self._statement)

    def _notice(self, notice: psycopg.errors.Diagnostic) -> None:
        self.over_limit |= notice.message_primary == OVER_LIMIT


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
        state=state,
        help="go on where it stopped",
    )


def _over_limit(target: Target, state: str) -> RowbackError:
    return RowbackError(
        ErrorId.STOPPED_MIDWAY,
        f"{target.label}, database '{target.database}': the server ended the transaction that was writing, because it"
        f" had lasted longer than {TRANSACTION_LIMIT_S // 3600} hours",
        state=state,
        help="load less at once: name fewer tables, or in mode repair: rowback apply with --max-wal-rate",
    )
