"""Mode missing: what was lost, and nothing else."""

from __future__ import annotations

from recovery.model.modes.reload_mode import Mode, ReloadMode

MISSING = ReloadMode(
    name=Mode.MISSING,
    summary="put lost rows back.",
    description="Rows that T has and that are not there now come back. Rows that were changed since stay as they are"
    " now, and rows that were written since stay.",
)
