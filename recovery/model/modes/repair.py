"""Mode repair: what was lost, and what one incident changed."""

from __future__ import annotations

from recovery.model.modes.reload_mode import IncidentNeed, Mode, ReloadMode
from recovery.model.row_class import RowClass

REPAIR = ReloadMode(
    name=Mode.REPAIR,
    summary="also revert rows the incident changed.",
    description="Lost rows come back, and rows that the incident alone changed become what they were at T. Where the"
    " incident and others changed a row, `--on-conflict` decides. Needs `--incident-xid` when rows were changed.",
    set_back=frozenset({RowClass.REVERTED}),
    by_policy=frozenset({RowClass.CONFLICT}),
    incident=IncidentNeed.REQUIRED,
)
