"""How durations are written on the command line and in runbooks: 90s, 10m, 2h, 1d."""

from __future__ import annotations

import re

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LONGEST_S = 100 * 365 * 86400


def duration_s(text: str) -> float | None:
    """`90s`, `10m`, `2h`, `1d` as seconds; None for anything else, and for more than a hundred years."""
    match = re.fullmatch(r"([0-9]{1,12})([smhd])", text)
    seconds = int(match[1]) * UNITS_S[match[2]] if match else None
    return float(seconds) if seconds is not None and seconds <= LONGEST_S else None
