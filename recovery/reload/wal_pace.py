"""How fast rows may come back: what writes much waits until the WAL is within a rate and the replicas are near."""

from __future__ import annotations

import time
from collections.abc import Callable

from recovery.errors import ErrorId, RowbackError
from recovery.model.repair_plan import Pace
from recovery.postgres.connect import Session
from recovery.postgres.wal_and_replica_lag import replica_lag_bytes, wal_position, wal_since

BEHIND_S = 5.0  # replicas may be behind by what the rate allows in this time
CATCH_UP_S, LOOK_AGAIN_S = 1800.0, 0.2
BLOCKS_S = 0.25  # rows that are streamed are looked after whenever the rate would allow their bytes in this time


class WalPace:
    """Compares what the server writes with the rate, from one look to the next.

    `monitor`: a session that is free whenever this is called. `say`: called with what is waited for and for how long.
    """

    def __init__(self, monitor: Session, pace: Pace, say: Callable[[str, float], None]) -> None:
        self._monitor, self._say, self.wal_bytes_per_s = monitor, say, pace.wal_bytes_per_s
        self._bytes_streamed = 0
        self.begin()

    def begin(self) -> None:
        """Count anew from here."""
        self._position, self._began = wal_position(self._monitor), time.monotonic()

    def streamed(self, size_bytes: int) -> None:
        """Called with every block that was sent to the server."""
        self._bytes_streamed += size_bytes
        if self._bytes_streamed > self.wal_bytes_per_s * BLOCKS_S:
            self._bytes_streamed = 0
            self.keep()

    def keep(self) -> int:
        """Wait until the rate is kept and the replicas are near, and count anew; how much was written.

        Raises replica-behind, privilege-missing.
        """
        wal_bytes = wal_since(self._monitor, self._position)
        while (remaining_s := self._began + wal_bytes / self.wal_bytes_per_s - time.monotonic()) > 0:
            rate_mib = self.wal_bytes_per_s / 2**20
            self._say(f"keeping below {rate_mib:.1f} MiB of WAL a second", time.monotonic() - self._began)
            time.sleep(min(remaining_s, LOOK_AGAIN_S))
        self._let_replicas_catch_up()
        self.begin()
        return wal_bytes

    def _let_replicas_catch_up(self) -> None:
        began = time.monotonic()
        while (lag := replica_lag_bytes(self._monitor)) > self.wal_bytes_per_s * BEHIND_S:
            waited = time.monotonic() - began
            if waited > CATCH_UP_S:
                raise RowbackError(
                    ErrorId.REPLICA_BEHIND,
                    f"a replica is {lag / 2**20:,.0f} MiB of WAL behind and does not catch up",
                    state="what was committed so far stays; nothing more is written",
                    help="find out what holds it up, then go on",
                )
            self._say(f"waiting for a replica that is {lag / 2**20:,.1f} MiB of WAL behind", waited)
            time.sleep(LOOK_AGAIN_S)
