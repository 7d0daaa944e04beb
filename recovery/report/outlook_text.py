"""What can be said beforehand, below the plan."""

from __future__ import annotations

from collections.abc import Iterator

from guards.plain_text import joined
from recovery.model.outlook import Cost, Outlook, PastDuration
from recovery.model.target import format_utc
from recovery.report.report_text import columns

NEVER_MEASURED = "no recovery was measured here yet; RDS takes 10 to 20 minutes and the replay, as a rule"


def outlook_text(outlook: Outlook) -> str:
    """Time, money, who is in the way, who listens."""
    rows = [
        ("replay", _replay(outlook)),
        ("time", _time(outlook.duration)),
        ("cost", _cost(outlook.cost)),
        *_lines("in the way", outlook.in_the_way, "no other session holds a lock on these tables now"),
        *_lines("listening", outlook.listeners, "nobody: no publication, slot, replica or materialized view"),
    ]
    if outlook.incident is not None:
        rows += _lines("in the log", outlook.incident, "")
    return joined(columns(rows))


def _lines(name: str, lines: tuple[str, ...], nothing: str) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(lines or (nothing,)):
        yield (name if number == 0 else "", line)


def _replay(outlook: Outlook) -> str:
    if outlook.replay_from is None or outlook.replay_s is None:
        return "RDS does not say which automated backup it starts from"
    wal = f", about {_size(outlook.wal_bytes)} of WAL at the server's average rate" if outlook.wal_bytes else ""
    return f"{duration_text(outlook.replay_s)} from the backup of {format_utc(outlook.replay_from)}{wal}"


def _time(duration: PastDuration | None) -> str:
    if duration is None:
        return NEVER_MEASURED
    cases = f"{duration.cases} recovered case{'s' * (duration.cases != 1)} of {duration.of}"
    return (
        f"about {duration_text(duration.typical_s)}, {duration_text(duration.least_s)}"
        f" to {duration_text(duration.most_s)} in {cases}"
    )


def _cost(cost: Cost | None) -> str:
    if cost is None:
        return "unknown: neither AWS's price list nor rowback's table has this class in this region"
    storage = ", storage not counted" if cost.price.storage_usd_per_gib_month is None else " and its storage"
    expected = f"about ${cost.expected_usd:,.2f}, " if cost.expected_usd is not None else ""
    return (
        f"{expected}${cost.most_usd:,.2f} if it is reaped only when it expires"
        f" (${cost.price.usd_per_hour:,.3f} an hour{storage}; {cost.price.source})"
    )


def duration_text(seconds: float) -> str:
    """A duration as a person says it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _size(number: int | None) -> str:
    amount = float(number or 0)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:,.0f} {unit}"
        amount /= 1024
    return f"{amount:,.1f} TiB"
