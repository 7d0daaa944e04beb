"""RDS operations on log files and events, with RDS's own cut at 1 MB."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from runbooks.lab.lab_state import utc_now
from runbooks.lab.query_protocol import Refusal, Request, Result
from runbooks.lab.views import LabAccount, page

PORTION_BYTES = 1_000_000
PORTION_LINES = 10_000
# What RDS puts in place of the rest of a portion that is too big (aws-cli#3079): the data after it is lost.
TRUNCATED = " [Your log message was truncated]"
EVENTS_KEPT = timedelta(days=14)
EVENTS_DEFAULT = timedelta(hours=1)


class LogOperations:
    """Log files as RDS names them (`error/postgresql.log.YYYY-MM-DD-HH`) and events."""

    def __init__(self, account: LabAccount) -> None:
        self.account, self.engine = account, account.engine

    def DescribeDBLogFiles(self, request: Request) -> Result:
        """Files with size and last write (milliseconds), filtered as RDS filters."""
        rows = []
        for path in self._files(request["DBInstanceIdentifier"]):
            status = path.stat()
            written_ms = int(status.st_mtime * 1000)
            if (
                request.get("FilenameContains", "") in path.name
                and status.st_size >= request.get("FileSize", 0)
                and written_ms >= request.get("FileLastWritten", 0)
            ):
                rows.append({"LogFileName": f"error/{path.name}", "LastWritten": written_ms, "Size": status.st_size})
        return page("DescribeDBLogFiles", rows, request)

    def DownloadDBLogFilePortion(self, request: Request) -> Result:
        """A portion from Marker ("0": the beginning; none: the tail), at most 10,000 lines and 1 MB.

        Raises Refusal when there is no such file.
        """
        name = request["LogFileName"]
        path = next((p for p in self._files(request["DBInstanceIdentifier"]) if f"error/{p.name}" == name), None)
        if path is None:
            raise Refusal("DBLogFileNotFoundFault", f"DBLog File: {name}, is not found on the DB instance", 404)
        content = path.read_bytes()
        lines = min(request.get("NumberOfLines", PORTION_LINES), PORTION_LINES)
        start = self._start(content, request.get("Marker"), lines)
        portion = b"".join(content[start:].splitlines(keepends=True)[:lines])
        end = start + len(portion)
        text = portion.decode("utf-8", "replace")
        if len(portion) > PORTION_BYTES:
            text = portion[:PORTION_BYTES].decode("utf-8", "replace") + TRUNCATED
        return {
            "LogFileData": text,
            "Marker": f"{path.name[-2:]}:{end}",
            "AdditionalDataPending": end < len(content),
        }

    def DescribeEvents(self, request: Request) -> Result:
        """Events of the last hour by default, of 14 days at most. Raises Refusal as RDS does."""
        if "SourceIdentifier" in request and "SourceType" not in request:
            raise Refusal("InvalidParameterCombination", "SourceType is required with SourceIdentifier.")
        now = utc_now()
        minutes = request.get("Duration")
        since = request.get("StartTime") or now - (timedelta(minutes=minutes) if minutes else EVENTS_DEFAULT)
        since = max(since, now - EVENTS_KEPT)
        until: datetime = request.get("EndTime") or now
        rows = [
            {
                "SourceIdentifier": event.source,
                "SourceType": event.source_type,
                "Message": event.message,
                "EventCategories": list(event.categories),
                "Date": event.at.astimezone(UTC),
                "SourceArn": self.account.arn("db", event.source),
            }
            for event in list(self.engine.events)
            if since <= event.at <= until
            and request.get("SourceIdentifier", event.source) == event.source
            and request.get("SourceType", event.source_type) == event.source_type
        ]
        return page("Events", rows, request)

    def _files(self, identifier: str) -> list[Path]:
        return sorted(self.account.find(identifier).cluster.log.glob("postgresql.log*"))

    @staticmethod
    def _start(content: bytes, marker: str | None, lines: int) -> int:
        if marker is None:
            return len(content) - len(b"".join(content.splitlines(keepends=True)[-lines:]))
        offset = marker.rpartition(":")[2]
        if not offset.isdigit():
            raise Refusal("InvalidParameterValue", f"Invalid Marker: {marker}")
        return min(int(offset), len(content))
