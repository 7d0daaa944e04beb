"""The error tree: every refusal and failure a user can meet, its exit code, and how it is worded.

Form (docs/errors.md):  `error[id]: fact` · indented facts · what has and has not happened · `help:` next command.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from guards.plain_text import plain
from recovery.redaction import Redactor


class ErrorId(StrEnum):
    """Stable names of errors; each has one exit code and one anchor in docs/errors.md."""

    # 2: usage
    USAGE = "usage"
    TARGET_TIME_NO_OFFSET = "target-time-no-offset"
    TARGET_TIME_UNREADABLE = "target-time-unreadable"
    CONFIG_INVALID = "config-invalid"
    LOG_UNREADABLE = "log-unreadable"
    BOOK_INVALID = "book-invalid"
    # 3: the lab on this machine
    LAB_UNAVAILABLE = "lab-unavailable"
    # 10-19: target or backup not reachable
    INSTANCE_UNKNOWN = "instance-unknown"
    TARGET_BEFORE_WINDOW = "target-before-window"
    TARGET_AFTER_WINDOW = "target-after-window"
    BACKUPS_OFF = "backups-off"
    DATABASE_UNKNOWN = "database-unknown"
    TABLE_UNKNOWN = "table-unknown"
    NOTHING_AT_TARGET = "nothing-at-target"
    INSTANCE_UNSUITABLE = "instance-unsuitable"
    CASE_UNKNOWN = "case-unknown"
    PLAN_UNREADABLE = "plan-unreadable"
    # 20-29: refused by a guard
    INCIDENT_UNKNOWN = "incident-unknown"
    CONFIRMATION_MISSING = "confirmation-missing"
    PLAN_FACTS_CHANGED = "plan-facts-changed"
    CASE_OPEN = "case-open"
    DELETE_REFUSED = "delete-refused"
    SCHEMA_DRIFT = "schema-drift"
    TABLE_UNRECOVERABLE = "table-unrecoverable"
    PRIVILEGE_MISSING = "privilege-missing"
    SAME_SERVER = "same-server"
    CASE_BUSY = "case-busy"
    # 30-39: server or AWS unavailable
    SERVER_UNREACHABLE = "server-unreachable"
    AUTHENTICATION_FAILED = "authentication-failed"
    AWS_UNREACHABLE = "aws-unreachable"
    AWS_CREDENTIALS = "aws-credentials"
    IAM_MISSING = "iam-missing"
    AWS_THROTTLED = "aws-throttled"
    AWS_REFUSED = "aws-refused"
    CLIENT_MISSING = "client-missing"
    DISK_FULL = "disk-full"
    QUOTA_REACHED = "quota-reached"
    # 40-49: verification found differences
    VERIFY_DIFFERS = "verify-differs"
    NOTHING_TO_REPAIR = "nothing-to-repair"
    NOTHING_TO_UNDO = "nothing-to-undo"
    NOTHING_SUSPECT = "nothing-suspect"
    TARGET_TOO_LATE = "target-too-late"
    NOT_RECOVERABLE = "not-recoverable"
    COVERAGE_GAPS = "coverage-gaps"
    RECOVERED_IN_PART = "recovered-in-part"
    UNDO_IN_PART = "undo-in-part"
    # 50-59: stopped part-way, resumable
    COPY_FAILED = "copy-failed"
    STOPPED_MIDWAY = "stopped-midway"
    LOCK_NOT_GRANTED = "lock-not-granted"
    DUMP_FAILED = "dump-failed"
    LOAD_REFUSED = "load-refused"
    REPLICA_BEHIND = "replica-behind"
    RUN_PAUSED = "run-paused"
    # 60-69: refused by what was agreed on beforehand
    COST_CEILING = "cost-ceiling"
    APPROVAL_MISSING = "approval-missing"
    BOOK_CHANGED = "book-changed"


EXIT_CODES: Final[dict[ErrorId, int]] = {
    ErrorId.USAGE: 2,
    ErrorId.TARGET_TIME_NO_OFFSET: 2,
    ErrorId.TARGET_TIME_UNREADABLE: 2,
    ErrorId.CONFIG_INVALID: 2,
    ErrorId.LOG_UNREADABLE: 2,
    ErrorId.BOOK_INVALID: 2,
    ErrorId.INSTANCE_UNKNOWN: 10,
    ErrorId.TARGET_BEFORE_WINDOW: 11,
    ErrorId.TARGET_AFTER_WINDOW: 12,
    ErrorId.BACKUPS_OFF: 13,
    ErrorId.DATABASE_UNKNOWN: 14,
    ErrorId.TABLE_UNKNOWN: 15,
    ErrorId.NOTHING_AT_TARGET: 16,
    ErrorId.INSTANCE_UNSUITABLE: 17,
    ErrorId.CASE_UNKNOWN: 18,
    ErrorId.PLAN_UNREADABLE: 19,
    ErrorId.INCIDENT_UNKNOWN: 20,
    ErrorId.CONFIRMATION_MISSING: 21,
    ErrorId.PLAN_FACTS_CHANGED: 22,
    ErrorId.CASE_OPEN: 23,
    ErrorId.DELETE_REFUSED: 24,
    ErrorId.SCHEMA_DRIFT: 25,
    ErrorId.TABLE_UNRECOVERABLE: 26,
    ErrorId.PRIVILEGE_MISSING: 27,
    ErrorId.SAME_SERVER: 28,
    ErrorId.CASE_BUSY: 29,
    ErrorId.SERVER_UNREACHABLE: 30,
    ErrorId.AUTHENTICATION_FAILED: 31,
    ErrorId.AWS_UNREACHABLE: 32,
    ErrorId.AWS_CREDENTIALS: 33,
    ErrorId.IAM_MISSING: 34,
    ErrorId.AWS_THROTTLED: 35,
    ErrorId.AWS_REFUSED: 36,
    ErrorId.CLIENT_MISSING: 37,
    ErrorId.DISK_FULL: 38,
    ErrorId.QUOTA_REACHED: 39,
    ErrorId.LAB_UNAVAILABLE: 3,
    ErrorId.VERIFY_DIFFERS: 40,
    ErrorId.NOTHING_TO_REPAIR: 41,
    ErrorId.NOTHING_TO_UNDO: 42,
    ErrorId.NOTHING_SUSPECT: 43,
    ErrorId.TARGET_TOO_LATE: 44,
    ErrorId.NOT_RECOVERABLE: 45,
    ErrorId.COVERAGE_GAPS: 46,
    ErrorId.RECOVERED_IN_PART: 47,
    ErrorId.UNDO_IN_PART: 48,
    ErrorId.COPY_FAILED: 50,
    ErrorId.STOPPED_MIDWAY: 51,
    ErrorId.LOCK_NOT_GRANTED: 52,
    ErrorId.DUMP_FAILED: 53,
    ErrorId.LOAD_REFUSED: 54,
    ErrorId.REPLICA_BEHIND: 55,
    ErrorId.RUN_PAUSED: 56,
    ErrorId.COST_CEILING: 60,
    ErrorId.APPROVAL_MISSING: 61,
    ErrorId.BOOK_CHANGED: 62,
}


class RowbackError(Exception):
    """A refusal or failure with everything the user needs to act on it.

    `fact`: one line with the user's own values, lower case, no full stop. `facts`: further lines.
    `state`: what has and has not happened. `help`: the next command; of several ways on, each in a text of its own.
    Of every one of these texts one line is made: a newline in a name forges none.
    """

    def __init__(self, id: ErrorId, fact: str, *facts: str, state: str, help: str | Sequence[str]) -> None:
        redact = Redactor.of_this_process()  # servers and AWS quote what they were sent
        # they may quote anything else as well: names, values, the content of files
        fact, facts = plain(redact(fact)), tuple(plain(redact(each)) for each in facts)
        super().__init__(fact)
        self.id, self.fact, self.facts, self.state = id, fact, facts, plain(state)
        self.helps = tuple(map(plain, [help] if isinstance(help, str) else help))

    @property
    def help(self) -> str:
        """All the ways on in one line."""
        return "; or ".join(self.helps)

    @property
    def exit_code(self) -> int:
        """The process's exit code for this error."""
        return EXIT_CODES[self.id]

    def __str__(self) -> str:
        lines = [f"error[{self.id}]: {self.fact}", *(f"  {line}" for line in self.facts)]
        return "\n".join([*lines, f"  {self.state}", *(f"  help: {line}" for line in self.helps)])

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (self.id, self.fact, self.facts, self.state, self.helps))


def disk_full(error: Exception) -> RowbackError | None:
    """The error of a disk that is full, out of what the system or SQLite raised; None for any other error."""
    by_system = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    by_sqlite = type(error).__module__ == "sqlite3" and "full" in str(error)
    if not by_system and not by_sqlite:
        return None
    where = getattr(error, "filename", None)
    return RowbackError(
        ErrorId.DISK_FULL,
        "the disk is full" + (f": {where} cannot be written" if where else ""),
        state="what was done so far stays done",
        help="free space there, or set ROWBACK_HOME to a bigger disk; what is under way: rowback cases",
    )


def _rebuild(id: ErrorId, fact: str, facts: Sequence[str], state: str, help: Sequence[str]) -> RowbackError:
    return RowbackError(id, fact, *facts, state=state, help=help)


NOTHING_CREATED = "nothing was created, nothing was written"
ROLLED_BACK = "the transaction was rolled back: nothing was written to the original"
