"""Turn a planned write into a row that stays as it is, with the reason."""

from __future__ import annotations

from recovery.changeset.change_set import ChangeSet
from recovery.changeset.row_change import Change
from recovery.model.row_class import Op, RowClass
from recovery.postgres.staging.row_obstacles import FOUND_IN, GONE_SINCE


def block(changes: ChangeSet, no: int, op: Op, reason: str) -> None:
    """Turn every planned write of one kind into a blocked row."""
    changes.update(blocked(change, reason) for change in changes.changes(no, ops=[op]))


def blocked(change: Change, reason: str) -> Change:
    """The row stays as it is, for `reason`; one that was found elsewhere, or is gone already, is not blocked."""
    kind = RowClass.MOVED if reason.startswith(FOUND_IN) else RowClass.BLOCKED
    kind = RowClass.GONE if reason == GONE_SINCE else kind
    return change._replace(kind=kind, op=Op.KEEP, want=None, reason=reason)
