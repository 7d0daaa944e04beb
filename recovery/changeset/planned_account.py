"""From the change set to the account: which class each row at T ends in, if the plan is carried out as it stands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from recovery.changeset.change_set import ChangeSet
from recovery.changeset.row_change import Shape
from recovery.model.account import Reason, TableAccount, merged
from recovery.model.row_class import Op, RowClass
from recovery.postgres.staging.row_obstacles import GONE_SINCE

NOT_RESTORED = "it was lost, and is to stay so by decision"
KEPT_BY_DECISION = "the incident changed it, and it is to stay so by decision"
ANOTHER_ENTITY = "its key names another row now"
WITH_KEYS = ("blocked", "left_out")
_KEYED = re.compile(r"^(unique key \S+|unique key \"[^\"]+\") is (taken|wanted|held) by .*$", re.DOTALL)


def account_of(changes: ChangeSet, shape: Shape, *, unchanged: int) -> TableAccount:
    """One compared table. `unchanged`: rows at T in scope that do not differ."""
    by_outcome: dict[str, list[Reason]] = {"never_gone": [Reason(reason="", rows=unchanged)]}
    for kind, op, reason, count in changes.outcomes.at_target(shape.no):
        end, why = _end_of(kind, op, reason or "")
        keys = changes.outcomes.keys_of(shape, kind, op, reason) if end in WITH_KEYS else ()
        by_outcome.setdefault(end, []).append(Reason(reason=why, rows=count, keys=keys))
    counts = {end: sum(each.rows for each in reasons) for end, reasons in by_outcome.items()}
    return TableAccount(
        table=str(shape.table),
        at_target=sum(counts.values()),
        back=counts.get("back", 0),
        never_gone=counts["never_gone"] + counts.get("moved", 0),
        kept_newer=counts.get("kept_newer", 0),
        conflict=counts.get("conflict", 0),
        blocked=merged(by_outcome.get("blocked", ())),
        left_out=merged(by_outcome.get("left_out", ())),
        moved=merged(by_outcome.get("moved", ())),
        not_deleted=merged(map(_without_row, changes.outcomes.not_deleted(shape))),
    )


def set_aside(changes: ChangeSet, skipped: Mapping[int, str]) -> dict[str, tuple[Reason, ...]]:
    """Table → reasons, of rows at T that were to come back and that the load skipped: number → reason."""
    by_table = changes.outcomes.set_aside(changes.shapes(), skipped)
    return {table: merged(map(_without_row, reasons)) for table, reasons in by_table.items()}


def not_deleted(changes: ChangeSet, skipped: Mapping[int, str]) -> dict[str, tuple[Reason, ...]]:
    """Table → reasons, of rows that T does not have, and that the load skipped and did not delete."""
    by_table = changes.outcomes.deletes_set_aside(changes.shapes(), skipped)
    return {table: stay for table, reasons in by_table.items() if (stay := merged(_staying(reasons)))}


def _staying(reasons: Iterable[Reason]) -> Iterator[Reason]:
    """Of rows that were to be deleted, those that stay: one that others deleted meanwhile does not."""
    return (_without_row(each) for each in reasons if each.reason != GONE_SINCE)


def _without_row(reason: Reason) -> Reason:
    return reason.model_copy(update={"reason": general(reason.reason)})


def _end_of(kind: RowClass, op: Op, reason: str) -> tuple[str, str]:
    """The class of the account that a row at T ends in, with the reason where it has one."""
    if op in (Op.INSERT, Op.UPDATE):
        return "back", ""
    ends = {
        RowClass.MOVED: ("moved", reason),
        RowClass.CONFLICT: ("conflict", ""),
        RowClass.BLOCKED: ("blocked", general(reason)),
        RowClass.REUSED: ("blocked", ANOTHER_ENTITY),
        RowClass.LOST: ("left_out", NOT_RESTORED),
        RowClass.REVERTED: ("left_out", KEPT_BY_DECISION),
    }
    newer = ("left_out", reason) if reason.startswith("its reference") else ("kept_newer", "")
    return ends.get(kind, newer)


def general(reason: str) -> str:
    """A reason without the single row in it, so that many rows have one (`diff --show blocked` lists the rows)."""
    match = _KEYED.match(reason)
    if match:
        return f"{match[1]} is {match[2]} by another row"
    return re.sub(r': ".*$', "", reason, flags=re.DOTALL)  # the server quotes the value that it cannot read
