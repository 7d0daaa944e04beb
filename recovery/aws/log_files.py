"""An instance's log files by the RDS API.

Portions are followed from Marker "0", and one of more than 1 MB loses what is behind that, unless it is asked for again
with fewer lines (sources: RDS-logs).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from recovery.aws.clients import client, translated

LINES, FEWEST_LINES = 10_000, 50
TRUNCATED = "[Your log message was truncated]"
SLACK = timedelta(hours=1)  # a file is written to for an hour


@dataclass(frozen=True)
class LogFile:
    """One file. `written_at`: its last write."""

    name: str
    written_at: datetime
    size_bytes: int


@dataclass(frozen=True)
class LogFiles:
    """The log files of one instance."""

    rds: Any
    instance: str

    @classmethod
    def of(cls, instance: str, region: str | None) -> LogFiles:
        """Those of `instance`."""
        return cls(client("rds", region=region), instance)

    def between(self, since: datetime, until: datetime) -> list[LogFile]:
        """PostgreSQL's files of all formats that may hold records of that time, the oldest first.

        Raises what `translated` makes of AWS.
        """
        with translated(f"rds:DescribeDBLogFiles on '{self.instance}'"):
            pages = self.rds.get_paginator("describe_db_log_files").paginate(
                DBInstanceIdentifier=self.instance,
                FilenameContains="postgresql.log",
                FileLastWritten=int(since.timestamp() * 1000),
            )
            files = [
                LogFile(row["LogFileName"], datetime.fromtimestamp(row["LastWritten"] / 1000, UTC), row["Size"])
                for page in pages
                for row in page["DescribeDBLogFiles"]
            ]
        files = [file for file in files if file.size_bytes and file.written_at - SLACK <= until]
        return sorted(files, key=lambda file: (file.written_at, file.name))

    def read(self, file: LogFile) -> Iterator[bytes]:
        """Its content, a portion at a time."""
        marker, lines, pending = "0", LINES, True
        while pending:
            portion = self._portion(file.name, marker, lines)
            text = portion.get("LogFileData") or ""
            if TRUNCATED in text[-200:] and lines > FEWEST_LINES:
                lines = max(FEWEST_LINES, lines // 4)  # the same again, in smaller bites
                continue
            yield text.encode("utf-8", "replace")
            # a file that is rotated away while it is read has no marker any more
            pending = bool(portion.get("AdditionalDataPending")) and "Marker" in portion
            marker = portion.get("Marker", marker)
            lines = min(LINES, lines * 2)

    def _portion(self, name: str, marker: str, lines: int) -> dict[str, Any]:
        with translated(f"rds:DownloadDBLogFilePortion on '{self.instance}'"):
            answer: dict[str, Any] = self.rds.download_db_log_file_portion(
                DBInstanceIdentifier=self.instance, LogFileName=name, Marker=marker, NumberOfLines=lines
            )
            return answer
