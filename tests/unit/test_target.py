"""Target times: strict, because a wrong T gives plausible wrong data."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from recovery.errors import RowbackError
from recovery.model.target import parse_target_time


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("2026-11-22T14:20:00Z", None, datetime(2026, 11, 22, 14, 20, tzinfo=UTC)),
        ("2026-11-22T23:20:00+09:00", None, datetime(2026, 11, 22, 14, 20, tzinfo=UTC)),
        ("2026-11-22 14:20:00.999999Z", None, datetime(2026, 11, 22, 14, 20, tzinfo=UTC)),
        ("2026-11-22T23:20:00", "Asia/Seoul", datetime(2026, 11, 22, 14, 20, tzinfo=UTC)),
        ("2026-11-22T14:20:00Z", "Asia/Seoul", datetime(2026, 11, 22, 14, 20, tzinfo=UTC)),
        ("2025-10-26T01:30:00+01:00", "Europe/London", datetime(2025, 10, 26, 0, 30, tzinfo=UTC)),
    ],
)
def test_times_are_read_as_utc_whole_seconds(text: str, zone: str | None, expected: datetime) -> None:
    assert parse_target_time(text, zone=zone) == expected


@pytest.mark.parametrize(
    ("text", "zone", "message"),
    [
        (
            "2026-11-22T14:20:00",
            None,
            "error[target-time-no-offset]: target time '2026-11-22T14:20:00' has no UTC offset\n"
            "  the same wall clock is a different moment in every time zone\n"
            "  nothing was created, nothing was written\n"
            "  help: if it is UTC write --at 2026-11-22T14:20:00Z; otherwise add the offset,"
            " or name the zone with --tz",
        ),
        (
            "2025-03-30 01:30",
            "Europe/London",
            "error[target-time-no-offset]: target time '2025-03-30 01:30' has no UTC offset\n"
            "  in Europe/London that wall-clock time does not exist (clocks went forward)\n"
            "  nothing was created, nothing was written\n"
            "  help: write it with an offset: --at 2025-03-30T01:30:00Z or --at 2025-03-30T00:30:00Z",
        ),
        (
            "2025-10-26 01:30",
            "Europe/London",
            "error[target-time-no-offset]: target time '2025-10-26 01:30' has no UTC offset\n"
            "  in Europe/London that wall-clock time happens twice (clocks went back)\n"
            "  nothing was created, nothing was written\n"
            "  help: write it with an offset: --at 2025-10-26T00:30:00Z or --at 2025-10-26T01:30:00Z",
        ),
        (
            "yesterday",
            None,
            "error[target-time-unreadable]: target time 'yesterday' is not an ISO 8601 time\n"
            "  nothing was created, nothing was written\n"
            "  help: write it like 2026-11-22T14:20:00Z or 2026-11-22T23:20:00+09:00",
        ),
        (
            "2026-11-22T14:20:00",
            "Mars/Olympus",
            "error[target-time-unreadable]: time zone 'Mars/Olympus' is unknown\n"
            "  nothing was created, nothing was written\n"
            "  help: use an IANA name such as --tz Europe/London",
        ),
    ],
)
def test_what_is_ambiguous_is_refused(text: str, zone: str | None, message: str) -> None:
    with pytest.raises(RowbackError) as refused:
        parse_target_time(text, zone=zone)
    assert str(refused.value) == message
    assert refused.value.exit_code == 2
