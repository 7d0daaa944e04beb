"""What RDS itself did to an instance: restarts, failovers, changes. It keeps two weeks (sources: RDS-logs)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from recovery.aws.clients import client, translated

KEPT = timedelta(days=14)


@dataclass(frozen=True)
class InstanceEvent:
    """One line of DescribeEvents."""

    at: datetime
    message: str


def events_of(instance: str, region: str | None, since: datetime, until: datetime) -> list[InstanceEvent]:
    """Those of that time, the oldest first. Raises what `translated` makes of AWS."""
    rds, now = client("rds", region=region), datetime.now(UTC)
    begin, end = max(since, now - KEPT + timedelta(minutes=1)), min(until, now)
    if begin >= end:
        return []
    with translated(f"rds:DescribeEvents on '{instance}'"):
        pages = rds.get_paginator("describe_events").paginate(
            SourceIdentifier=instance, SourceType="db-instance", StartTime=begin, EndTime=end
        )
        events = [InstanceEvent(row["Date"], row["Message"]) for page in pages for row in page["Events"]]
    return sorted(events, key=lambda event: event.at)
