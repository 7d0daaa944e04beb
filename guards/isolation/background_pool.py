"""Things that a thread makes ahead of time, so that taking one does not wait."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
SHALLOW, DEEPEST = 4, 32
MANY = 16  # ended things pile up to this number before any is removed while there is other work


class Pool(Generic[T]):
    """`make` a thing; `renew` one that was given back (False: it cannot be used again); `end` one for good.

    All three run in the pool's thread, one at a time: the next is made while the former is in use, and nothing is
    removed while a test waits. The pool deepens when it ran dry.
    """

    def __init__(
        self, make: Callable[[], T], *, renew: Callable[[T], bool] | None = None, end: Callable[[T], None]
    ) -> None:
        self._make, self._renew, self._end = make, renew, end
        self._ready: deque[T] = deque()
        self._returned: deque[T] = deque()
        self._ended: deque[T] = deque()
        self._depth, self._waiting, self._closed = SHALLOW, 0, False
        self._failure: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="rowback-pool", daemon=True)
        self._thread.start()

    def take(self) -> T:
        """One that is ready, or the next to be. Raises what `make` raised."""
        with self._changed:
            if not self._ready:
                self._depth = min(2 * self._depth, DEEPEST)
            self._waiting += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._ready or self._failure or self._closed)
            self._waiting -= 1
            if not self._ready:
                raise self._failure or RuntimeError("the pool is closed")
            item = self._ready.popleft()
            self._changed.notify_all()
            return item

    def give_back(self, thing: T) -> None:
        """It was used: renew it, or end it some time."""
        with self._changed:
            (self._returned if self._renew else self._ended).append(thing)
            self._changed.notify_all()

    def close(self) -> None:
        """Make no more, and end everything that is left."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        for thing in (*self._ready, *self._returned, *self._ended):
            self._end(thing)

    def _work(self) -> None:
        """Run until the pool is closed.

        An error is raised where a database is waited for, and printed by the thread as well: there may be no further
        wait.
        """
        try:
            while act := self._next():
                act()
        finally:
            with self._changed:
                self._failure = sys.exc_info()[1]
                self._changed.notify_all()

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            self._changed.wait_for(self._has_work)
            if self._closed:
                return None
            if self._returned:
                used = self._returned.popleft()
                return lambda: self._renewed(used)
            if len(self._ready) < self._depth:
                return self._made
            old = self._ended.popleft()
            return lambda: self._end(old)

    def _has_work(self) -> bool:
        idle_enough = len(self._ended) >= MANY and not self._waiting
        return bool(self._closed or self._returned or len(self._ready) < self._depth or idle_enough)

    def _made(self) -> None:
        made = self._make()
        with self._changed:
            self._ready.append(made)
            self._changed.notify_all()

    def _renewed(self, used: T) -> None:
        assert self._renew
        again = self._renew(used)
        with self._changed:
            (self._ready if again else self._ended).append(used)
            self._changed.notify_all()
