"""After the commit a row that still differs is as planned, changed by others since, or wrong: nothing in between."""

from __future__ import annotations

import pytest

from recovery.changeset.row_change import Change
from recovery.compare.post_commit_diff import _verdict
from recovery.model.row_class import Op, RowClass

OURS, BEFORE, OTHERS = 50, 40, 60
T, LIVE, MERGED, LATER = (("1", text) for text in ("then", "live", "merged", "later"))


def row(live: tuple[str, str] | None, xmin: int | None) -> Change:
    return Change(0, ("1",), RowClass.CHANGED, T, live, xmin)


def planned(op: Op, want: tuple[str, str] | None, live: tuple[str, str] | None = LIVE) -> Change:
    return Change(0, ("1",), RowClass.REVERTED, T, live, BEFORE, op, want)


@pytest.mark.parametrize(
    ("now", "plan", "wrote", "verdict"),
    [
        # a row that we were to delete: still the very version, or another one that somebody put there since
        (row(LIVE, BEFORE), planned(Op.DELETE, None), True, "wrong"),
        (row(LATER, OTHERS), planned(Op.DELETE, None), True, "since"),
        (row(LIVE, OTHERS), planned(Op.DELETE, None), True, "since"),
        # a merge is as planned, though it is not what T held
        (row(MERGED, OURS), planned(Op.UPDATE, MERGED), True, "stays"),
        # what we wrote is not what was planned; it was never written; somebody changed it since
        (row(LATER, OURS), planned(Op.UPDATE, T), True, "wrong"),
        (row(LIVE, BEFORE), planned(Op.UPDATE, T), True, "wrong"),
        (row(LATER, OTHERS), planned(Op.UPDATE, T), True, "since"),
        # put back, and deleted by others; or another row in its place; or ours, and not what was planned
        (row(None, None), Change(0, ("1",), RowClass.LOST, T, None, None, Op.INSERT, T), True, "since"),
        (row(LATER, OTHERS), Change(0, ("1",), RowClass.LOST, T, None, None, Op.INSERT, T), True, "since"),
        (row(LATER, OURS), Change(0, ("1",), RowClass.LOST, T, None, None, Op.INSERT, T), True, "wrong"),
        # rows that the plan leaves alone
        (row(LIVE, BEFORE), planned(Op.KEEP, None), False, "stays"),
        (row(LATER, OTHERS), planned(Op.KEEP, None), False, "since"),
        (row(LATER, OURS), planned(Op.KEEP, None), False, "wrong"),
        (row(LATER, OTHERS), None, False, "since"),
        (row(LATER, OURS), None, False, "wrong"),
    ],
)
def test_every_row_that_differs_has_a_verdict(now: Change, plan: Change | None, wrote: bool, verdict: str) -> None:
    assert _verdict(now, plan, {OURS}, wrote=wrote) == verdict
