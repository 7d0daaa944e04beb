"""PostgreSQL's log as RDS exports it to CloudWatch Logs: an event a record, further lines in it (sources: RDS-logs)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from recovery.aws.clients import client, translated


@dataclass(frozen=True)
class LogGroup:
    """The log group of one instance."""

    logs: Any
    name: str

    @classmethod
    def of(cls, instance: str, region: str | None) -> LogGroup:
        """`/aws/rds/instance/NAME/postgresql`, where the export is turned on."""
        return cls(client("logs", region=region), f"/aws/rds/instance/{instance}/postgresql")

    def read(self, since: datetime, until: datetime) -> Iterator[bytes]:
        """Its records between two moments. Raises what `translated` makes of AWS, for a missing group as well."""
        with translated(f"logs:FilterLogEvents on '{self.name}'"):
            pages = self.logs.get_paginator("filter_log_events").paginate(
                logGroupName=self.name, startTime=int(since.timestamp() * 1000), endTime=int(until.timestamp() * 1000)
            )
            for page in pages:
                yield "".join(f"{event['message']}\n" for event in page["events"]).encode("utf-8", "replace")
