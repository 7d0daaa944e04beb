"""Cases, keys and journals that are not ours."""

from __future__ import annotations

UNREADABLE = 19
