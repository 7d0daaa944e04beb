"""The target time T: parsed strictly, because a wrong T gives plausible wrong data."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError

FIRST_YEAR, LAST_YEAR = 1971, 9998


def parse_target_time(text: str, *, zone: str | None = None) -> datetime:
    """`text` (ISO 8601) as aware UTC, rounded down to the second, which is RDS's granularity (sources: RDS-time).

    A time without offset needs `zone` (an IANA name) and must exist exactly once there.
    Raises RowbackError(target-time-no-offset, target-time-unreadable).
    """
    try:
        moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
        if not FIRST_YEAR <= moment.year <= LAST_YEAR:
            raise ValueError("a year without backups")
    except ValueError as error:
        raise RowbackError(
            ErrorId.TARGET_TIME_UNREADABLE,
            f"target time '{text}' is not an ISO 8601 time",
            state=NOTHING_CREATED,
            help="write it like 2026-11-22T14:20:00Z or 2026-11-22T23:20:00+09:00",
        ) from error
    if moment.tzinfo is None:
        moment = _in_zone(moment, text, zone)
    return moment.astimezone(UTC).replace(microsecond=0)


def _in_zone(wall_clock: datetime, text: str, zone: str | None) -> datetime:
    if zone is None:
        as_utc = wall_clock.replace(microsecond=0).isoformat()
        raise RowbackError(
            ErrorId.TARGET_TIME_NO_OFFSET,
            f"target time '{text}' has no UTC offset",
            "the same wall clock is a different moment in every time zone",
            state=NOTHING_CREATED,
            help=f"if it is UTC write --at {as_utc}Z; otherwise add the offset, or name the zone with --tz",
        )
    try:
        local = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError, RecursionError) as error:
        raise RowbackError(
            ErrorId.TARGET_TIME_UNREADABLE,
            f"time zone '{zone}' is unknown",
            state=NOTHING_CREATED,
            help="use an IANA name such as --tz Europe/London",
        ) from error
    first, second = (wall_clock.replace(tzinfo=local, fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return first
    gap = first.astimezone(UTC).astimezone(local).replace(tzinfo=None) != wall_clock
    why = "does not exist (clocks went forward)" if gap else "happens twice (clocks went back)"
    raise RowbackError(
        ErrorId.TARGET_TIME_NO_OFFSET,
        f"target time '{text}' has no UTC offset",
        f"in {zone} that wall-clock time {why}",
        state=NOTHING_CREATED,
        help=f"write it with an offset: --at {first.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        f" or --at {second.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
    )


def format_utc(moment: datetime) -> str:
    """`2026-11-22T14:20:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
