"""Target times, durations, sizes, transaction ids: what options take as text."""

from __future__ import annotations

from pathlib import Path
from random import Random

from guards.commands.guard_target import DurationParameter
from recovery.commands.parameter_types import BYTES, XidRange, seconds
from recovery.incident.log_line_prefix import is_zone
from recovery.model.target import format_utc, parse_target_time
from tests.fuzz.mutations import mutated
from tests.fuzz.target import Invocation, Target, argument

TIMES = (
    "2026-11-22T14:20:00Z",
    "2026-11-22T23:20:00+09:00",
    "2026-11-22 14:20",
    "20261122T142000.123456Z",
    "2026-W47-7",
    "2026-03-29T02:30:00",
    "2026-10-25T02:30:00",
    "1971-01-01T00:00:00-14:00",
    "9998-12-31T23:59:59+14:00",
    "2026-11-22T14:20:00,5+00:00:01.5",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "2026-11-22",
)
ZONES = ("Europe/London", "Asia/Seoul", "UTC", "", "../etc/localtime", "/etc/localtime", "posixrules", "Europe", "CET")
TIME_TOKENS = ("T", "Z", "+00:00", "-23:59", "+24:00", "W53", ":60", ".9999999", "24:00:00", "1970", "0000", "10000")
LENGTHS = ("90s", "10m", "2h", "1d", "36500d", "0s", "30m", "366d")
SIZES = ("8MiB", "500kB", "1", "1e3 GB", "0.5 TiB")
IDS = ("3587", "3587..3760", "0", "9999999999999999999", "1..2..3")
LENGTH_TOKENS = ("s", "m", "h", "d", "..", "KiB", "EB", "e", "inf", "nan", "_", "٣", "²")


def _time(rng: Random) -> tuple[str, str]:
    zone = argument(mutated(rng, ZONES)) if rng.random() < 0.5 else rng.choice(ZONES)
    return argument(mutated(rng, TIMES, TIME_TOKENS)), zone


def _parse_time(data: tuple[str, str], directory: Path) -> None:
    text, zone = data
    format_utc(parse_target_time(text, zone=zone or None))


def _time_command(data: tuple[str, str], directory: Path) -> Invocation:
    text, zone = data
    zoned = (f"--tz={zone}",) if zone else ()
    return Invocation(("plan", "docs-staging", f"--at={text}", *zoned, "--database", "docs", "--json"))


def _zone(rng: Random) -> str:
    return argument(mutated(rng, ZONES, ("Etc/", "GMT", "+05:30", "..", "/", "-99")))


def _know_zone(data: str, directory: Path) -> None:
    is_zone(data)


def _zone_command(data: str, directory: Path) -> Invocation:
    (directory / "log").write_text("")
    return Invocation(("find", "--log", "log", f"--log-timezone={data}", "--json"))


def _length(rng: Random) -> tuple[str, str]:
    name, seeds = rng.choice((("since", LENGTHS), ("for", LENGTHS), ("pace", SIZES), ("xid", IDS)))
    return name, argument(mutated(rng, seeds, LENGTH_TOKENS))


def _parse_length(data: tuple[str, str], directory: Path) -> None:
    name, text = data
    match name:
        case "since":
            seconds(text)
        case "for":
            DurationParameter().convert(text, None, None)
        case "pace":
            BYTES.convert(text, None, None)
        case _:
            XidRange().convert(text, None, None)


def _length_command(data: tuple[str, str], directory: Path) -> Invocation | None:
    name, text = data
    match name:
        case "since":
            return Invocation(("find", "docs-staging", f"--since={text}", "--json"))
        case "for":
            return Invocation(("guard", "mark", "--dsn", "host=127.0.0.1 port=1", f"--for={text}", "--reason", "fuzz"))
        case "xid":
            return Invocation(("diff", "7f3a", f"--incident-xid={text}", "--json"))
    return None


TARGETS = (
    Target("times", _time, _parse_time, 80, _time_command),
    Target("zones", _zone, _know_zone, 30, _zone_command),
    Target("lengths", _length, _parse_length, 60, _length_command),
)
