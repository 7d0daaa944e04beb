"""Mode recreate: what was dropped since T, made anew in its own place."""

from __future__ import annotations

from recovery.model.modes.reload_mode import Destination, Mode, ReloadMode

RECREATE = ReloadMode(
    name=Mode.RECREATE,
    summary="make anew what was dropped, with everything that hung on it.",
    description="What was there at T and is missing now is made anew as it was: tables with their rows, and whatever"
    " hung on them or went with them by CASCADE: constraints, also of other tables, indexes, views, triggers, policies,"
    " grants, comments, membership in publications, and what these need. Tables that are there get dropped columns back"
    " as their last ones, with the values of T in the rows that are still the same, and defaults and checks that are"
    " gone. `--table` names what is meant (`schema.*` for all of a schema); without it, everything that is missing."
    " What is there now is left as it is, also where it differs from T; what has the name of something dropped is"
    " refused. All of it appears in one transaction.",
    destination=Destination.ANEW,
)
