"""Mode replace: the tables as they were at T."""

from __future__ import annotations

from recovery.model.modes.reload_mode import Followed, Mode, NewRows, ReloadMode
from recovery.model.row_class import WRITTEN_SINCE

REPLACE = ReloadMode(
    name=Mode.REPLACE,
    summary="back to T.",
    description="The named tables become what they were at T: whatever was changed since is set back, whatever was"
    " written since is deleted; what cannot be deleted is named, and the result is `recovered in part`. Asks for the"
    " number of rows that lose something (`--confirm-loss`). Tables that are only followed get back what was lost or"
    " hit by the incident, no more.",
    set_back=frozenset(WRITTEN_SINCE),
    new_rows=NewRows.LEAVE,
    followed=Followed(with_incident=Mode.REPAIR, without_incident=Mode.MISSING),
)
