"""Mode beside: T's tables in a schema of their own."""

from __future__ import annotations

from recovery.model.modes.reload_mode import Destination, Mode, ReloadMode

BESIDE = ReloadMode(
    name=Mode.BESIDE,
    summary="load T's tables into a schema of their own.",
    description="Whole tables of T are loaded into the new schema recovered_CASE of the same database, also those that"
    " were dropped since. The original's own tables are not touched; what to take from the others is yours to decide.",
    destination=Destination.OWN_SCHEMA,
)
