"""What a comparison is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from recovery.compare.edited_csv import Decision
from recovery.model.recovery_plan import RecoveryPlan
from recovery.model.repair_plan import RepairRequest
from recovery.model.values import TableName


@dataclass(frozen=True)
class Inquiry:
    """What is to be compared: the plan's tables.

    `filled`: those of them that may be loaded whole, because they are empty and look as they did; which of them are,
    the comparison says.

    `gone`: tables dropped since T, and the rows they held; `beside`, `anew`: the commands that load T's tables
    beside, and that make what was dropped anew.
    `boundary`: the first transaction id that the copy may have used itself; None: compare without lineage. `repaired`:
    transactions whose rows an earlier case has repaired: that they are the last writer of none tells nothing.
    """

    case: str
    plan: RecoveryPlan
    request: RepairRequest
    filled: Sequence[TableName]
    number: int
    boundary: int | None
    decisions: Sequence[Decision] = ()
    gone: Mapping[str, int] = field(default_factory=dict)
    beside: str = "mode beside"
    anew: str = "mode recreate"
    repaired: frozenset[int] = frozenset()
