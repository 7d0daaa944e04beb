"""Locks against readers, asked for so briefly that no other session waits for long behind the request."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import LiteralString

from psycopg import sql

from recovery.model.values import TableName
from recovery.postgres import load_statements
from recovery.postgres.change_consumers import lock_holders
from recovery.postgres.connect import Session

# Of all tables together. Less than deadlock_timeout: an application's transaction never becomes the victim of ours.
BRIEF_MS = 200
# Now and then longer than deadlock_timeout, after which the server ends an autovacuum that is in the way.
LONG_MS, LONG_EVERY = 1_100, 8
PATIENCE_S, PAUSE_S = 30.0, 0.8


class LockNotFree(Exception):
    """The locks were not free for as long as they were asked for; it says who holds them."""


def until_locked(original: Session, tables: Sequence[TableName], attempt: Callable[[int], bool]) -> None:
    """Call `attempt` with the milliseconds it may wait for its locks, again and again until it returns True.

    What it locked has to be free again when it returns. Raises LockNotFree.
    """
    deadline, number = time.monotonic() + PATIENCE_S, 1
    while True:
        with load_statements.unless_blocked():
            if attempt(LONG_MS if number % LONG_EVERY == 0 else BRIEF_MS):
                return
        if time.monotonic() > deadline:
            holders = "; ".join(holder.who for holder in lock_holders(original, tables)[:3])
            raise LockNotFree(f"the lock is not free{holders and f': {holders}'}")
        time.sleep(PAUSE_S)
        number += 1


def lock_alone(original: Session, tables: Collection[TableName], *, wait_ms: int) -> bool:
    """ACCESS EXCLUSIVE on all of them in the open transaction, or False: then it has to end.

    Writers are locked out first, so that readers do not wait behind us while we wait for a writer.
    """
    return _lock(original, tables, "share row exclusive", wait_ms) and _lock(
        original, tables, "access exclusive", BRIEF_MS
    )


def _lock(original: Session, tables: Collection[TableName], mode: LiteralString, wait_ms: int) -> bool:
    deadline = time.monotonic() + wait_ms / 1000
    for table in tables:
        remaining_ms = int((deadline - time.monotonic()) * 1000)
        if remaining_ms <= 0:
            return False
        original.execute(sql.SQL("set local lock_timeout = {}").format(sql.Literal(remaining_ms)))
        original.execute(sql.SQL("lock table only {} in {} mode").format(sql.Identifier(*table.key), sql.SQL(mode)))
    return True
