"""What happened to a row between T and now, and what is done to it."""

from __future__ import annotations

from enum import StrEnum


class OnConflict(StrEnum):
    """What becomes of a row that both the incident and others after it changed."""

    KEEP_LIVE = "keep-live"
    TAKE_T = "take-t"
    MERGE = "merge"


class RowClass(StrEnum):
    """What happened to a row between T and now. Only the first one is not listed row by row."""

    UNCHANGED = "unchanged"
    LOST = "lost"  # at T, not now
    REVERTED = "changed by the incident"  # and by nobody since
    CONFLICT = "conflict"  # changed by the incident and by others after it
    NEWER = "newer"  # changed after T, not by the incident
    CHANGED = "changed"  # after T; by whom is not known, because no incident was named
    REUSED = "reused key"  # the same key names another entity now
    MOVED = "moved"  # at T here, now in another partition or table: nothing is lost
    GONE = "gone already"  # was to be deleted, and others deleted it first
    NEW = "new"  # now, not at T
    BLOCKED = "blocked"  # would be written, but something forbids it: see the reason


# There at both times, and written in between.
WRITTEN_SINCE = (RowClass.REVERTED, RowClass.CONFLICT, RowClass.NEWER, RowClass.CHANGED, RowClass.REUSED)
WRITTEN_AFTER_T = (RowClass.NEW, RowClass.NEWER, RowClass.CHANGED, RowClass.CONFLICT, RowClass.REUSED)


class Op(StrEnum):
    """What the repair does to one row."""

    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    KEEP = "keep"
