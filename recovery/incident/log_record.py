"""One record of PostgreSQL's log, whatever it was written as: stderr, csvlog or jsonlog."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

# Where RDS cuts a portion of more than 1 MB; what stood there is lost (sources: RDS-logs).
TRUNCATED = b"[Your log message was truncated]"


class LogRecord(NamedTuple):
    """A record as the server wrote it. What its format does not tell is empty.

    `at`: seconds since 1970; `exact`: whether that is finer than a second. `session`: the session's own id (csvlog,
    jsonlog, or %c), else its process id. `severity`: LOG, ERROR, FATAL, PANIC, WARNING, NOTICE …; in stderr also the
    parts of a record that stand on lines of their own: DETAIL, STATEMENT, CONTEXT, HINT, QUERY, LOCATION.
    `statement`: the SQL that an error belongs to. `virtual`: the virtual transaction id, `xid`: the real one (0: none).
    """

    at: float
    exact: bool
    session: str
    pid: int
    role: str
    database: str
    client: str
    application: str
    severity: str
    message: str
    detail: str = ""
    statement: str = ""
    virtual: str = ""
    xid: int = 0

    @property
    def error(self) -> bool:
        """Whether what the session was doing failed."""
        return self.severity in ("ERROR", "FATAL", "PANIC")


Wanted = Callable[[bytes, bytes, bytes], bool]


def everything(pid: bytes, severity: bytes, message: bytes) -> bool:
    """Of a reader's records, all. Others say by process id, severity and the raw message which are worth decoding."""
    return True
