"""The escape hatch: for a while, for one database, for a reason, in a file of one's own; printed in every run.

No variable of the environment opens it: those end up in .env files and CI templates (facts/guards.md §3a). A policy
file may forbid it (guards.policy).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from guards.identity import ServerIdentity

LONGEST = timedelta(hours=24)
_TARGET = re.compile(r"(?P<system>\d{1,20})/(?P<oid>\d{1,10})/(?P<started>[\d.]{1,24})")


@dataclass(frozen=True)
class Allowance:
    """One database that may be destroyed until `until` (ISO 8601, UTC), whatever speaks against it but a protection.

    `started`: when its server was started, which tells it from a physical copy that shares the rest.
    """

    system_identifier: str
    database_oid: int
    started: str
    by: str
    reason: str
    until: str

    @property
    def target(self) -> str:
        """As a refusal names it."""
        return f"{self.system_identifier}/{self.database_oid}/{self.started}"

    def covers(self, identity: ServerIdentity, now: datetime) -> bool:
        """Whether it is for that database, and still."""
        return self.target == target_of(identity) and now < datetime.fromisoformat(self.until)

    def __str__(self) -> str:
        return f"{self.target} is allowed by {self.by} until {self.until}: {self.reason}"


def target_of(identity: ServerIdentity) -> str:
    """How one database on one server is named for `rowback guard allow`."""
    return f"{identity.system_identifier}/{identity.database_oid}/{identity.started_at}"


def parse_target(text: str) -> tuple[str, int, str] | None:
    """System identifier, database oid and the server's start; None for anything else."""
    found = _TARGET.fullmatch(text)
    return (found["system"], int(found["oid"]), found["started"]) if found else None


def allowances(now: datetime) -> tuple[Allowance, ...]:
    """Those of this user that have not run out. A file that others can write to, or that cannot be read, is none."""
    return tuple(found for found in _written() if now < datetime.fromisoformat(found.until))


def write_allowance(allowance: Allowance) -> Path:
    """Keep it, for this user alone; a former one for the same database is replaced. Raises OSError."""
    directory = _directory()
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = directory / f"{allowance.target.replace('/', '-')}.json"
    fresh = path.with_suffix(f".{os.getpid()}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        json.dump(asdict(allowance), out)
    fresh.replace(path)
    return path


def take_back(target: str) -> bool:
    """Remove the allowance for `target`; False when there was none."""
    path = _directory() / f"{target.replace('/', '-')}.json"
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def _written() -> Iterator[Allowance]:
    for path in sorted(_directory().glob("*.json")):
        try:
            status = path.stat()
            found = Allowance(**json.loads(path.read_text()))
            aware = datetime.fromisoformat(found.until).astimezone(UTC) - datetime.now(UTC) <= LONGEST
        except (OSError, ValueError, TypeError):
            continue
        ours = status.st_uid == os.geteuid() and not status.st_mode & 0o022
        if ours and aware and datetime.fromisoformat(found.until).tzinfo and parse_target(found.target):
            yield found


def _directory() -> Path:
    home, base = os.environ.get("ROWBACK_HOME"), os.environ.get("XDG_STATE_HOME")
    state = Path(base) if base else Path.home() / ".local" / "state"
    return (Path(home) if home else state / "rowback") / "guard"
