"""Statements worked off by several sessions of one server at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from queue import SimpleQueue
from types import TracebackType

from recovery.postgres.connect import Session

CANCEL_EVERY_S = 0.5


class WorkQueue:
    """Each of `sessions` executes one thing at a time. Leaving by an exception cancels what runs and drops the rest."""

    def __init__(self, sessions: Sequence[Session]) -> None:
        self._sessions = sessions
        self._free: SimpleQueue[Session] = SimpleQueue()
        for session in sessions:
            self._free.put(session)
        self._pool = ThreadPoolExecutor(len(sessions), thread_name_prefix="build")
        self._futures: list[Future[None]] = []

    def add(self, act: Callable[[Session], None]) -> None:
        """Have `act` done by whichever session is free next."""
        self._futures.append(self._pool.submit(self._perform, act))

    def wait(self) -> None:
        """Until all that was added is done. Raises what the first failing act raised."""
        done, _ = wait(self._futures, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
        self._futures.clear()

    def __enter__(self) -> WorkQueue:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=kind is None, cancel_futures=True)
        # wait() counts no future as done that was cancelled before it began
        while running := [future for future in self._futures if not future.done()]:
            for session in self._sessions:  # again and again: between two statements there is nothing to cancel
                session.cancel()
            wait(running, timeout=CANCEL_EVERY_S)

    def _perform(self, act: Callable[[Session], None]) -> None:
        session = self._free.get()
        try:
            act(session)
        finally:
            self._free.put(session)
