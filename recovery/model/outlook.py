"""What can be said beforehand of a recovery: how long, how dear, who is in the way, who listens."""

from __future__ import annotations

from recovery.model.values import Moment, Value

LEAST_BILLED_S = 600.0  # RDS bills ten minutes at least (sources: RDS-cost)
HOURS_A_MONTH = 730.0


class Price(Value):
    """What RDS charges for one copy. `source`: where the price is from. Storage: None where it is not known.

    `iops_usd_per_month`: of all that are provisioned.
    """

    usd_per_hour: float
    storage_usd_per_gib_month: float | None
    source: str
    iops_usd_per_month: float = 0.0

    def hourly(self, gib: int) -> float:
        """US dollars an hour with that much storage."""
        monthly = gib * (self.storage_usd_per_gib_month or 0.0) + self.iops_usd_per_month
        return self.usd_per_hour + monthly / HOURS_A_MONTH


class PastDuration(Value):
    """How long past cases took from opening to removal, pauses left out. `of`: of this instance, or of others."""

    typical_s: float
    least_s: float
    most_s: float
    cases: int
    of: str


class Cost(Value):
    """US dollars. `expected`: over the typical duration; `most`: when the instance lives until it expires."""

    price: Price
    expected_usd: float | None
    most_usd: float


class Outlook(Value):
    """Read beside the plan and not part of its digest: all of it may be different in a minute.

    `replay_from`: the automated backup that RDS starts from; `wal_bytes`: what was written from then to T at the
    server's average rate. `in_the_way`: sessions that hold locks on the tables now. `listeners`: what a write reaches.
    `incident`: what the log says of the time after T; None where it was not read.
    """

    replay_from: Moment | None
    replay_s: float | None
    wal_bytes: int | None
    duration: PastDuration | None
    cost: Cost | None
    in_the_way: tuple[str, ...]
    listeners: tuple[str, ...]
    incident: tuple[str, ...] | None = None
