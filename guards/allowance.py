"""What this user declared about databases, in files of the user's own.

Allowances, the escape hatch, for one database, a while and a reason, printed in every run; and marks by name, which
outlive `dropdb` and `createdb` on a server of this machine.

No variable of the environment opens it: those end up in .env files and CI templates (sources: GUARD-bypasses). A policy
file may forbid it (guards.policy).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from guards.server_identity import ServerIdentity

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


@dataclass(frozen=True)
class NamedMark:
    """A database that is disposable by its name on one server, whatever its oid, until `until` (ISO 8601, UTC).

    Its scripts drop and create it again, so its oid changes. It counts where the server is proven to run on this
    machine.
    """

    system_identifier: str
    database: str
    by: str
    reason: str
    until: str

    def covers(self, identity: ServerIdentity, now: datetime) -> bool:
        """Whether it is for a database of that name on that server, and still."""
        same = (self.system_identifier, self.database) == (identity.system_identifier, identity.database)
        return same and now < datetime.fromisoformat(self.until)

    def __str__(self) -> str:
        return f"its name was marked disposable by {self.by}: {self.reason}, until {self.until}"


def target_of(identity: ServerIdentity) -> str:
    """How one database on one server is named for `rowback guard allow`."""
    return f"{identity.system_identifier}/{identity.database_oid}/{identity.started_at}"


def parse_target(text: str) -> tuple[str, int, str] | None:
    """System identifier, database oid and the server's start; None for anything else."""
    match = _TARGET.fullmatch(text)
    return (match["system"], int(match["oid"]), match["started"]) if match else None


def allowances(now: datetime) -> tuple[Allowance, ...]:
    """Those of this user that have not run out. A file that others can write to, or that cannot be read, is none."""
    valid = []
    for content in _contents("*.json"):
        try:
            allowance = Allowance(**content)
            remaining = datetime.fromisoformat(allowance.until) - now
        except (ValueError, TypeError):
            continue
        if timedelta(0) < remaining <= LONGEST and parse_target(allowance.target):
            valid.append(allowance)
    return tuple(valid)


def named_marks(now: datetime) -> tuple[NamedMark, ...]:
    """Those of this user that have not run out, by the same rules."""
    valid = []
    for content in _contents("*.name"):
        try:
            named = NamedMark(**content)
            if now < datetime.fromisoformat(named.until):
                valid.append(named)
        except (ValueError, TypeError):
            continue
    return tuple(valid)


def write_allowance(allowance: Allowance) -> Path:
    """Keep it, for this user alone; a former one for the same database is replaced. Raises OSError."""
    return _write(f"{allowance.target.replace('/', '-')}.json", asdict(allowance))


def write_named_mark(named: NamedMark) -> Path:
    """Keep it, for this user alone; a former one for the same name is replaced. Raises OSError."""
    return _write(_named_file(named.system_identifier, named.database), asdict(named))


def take_back(target: str) -> bool:
    """Remove the allowance for `target`; False when there was none."""
    return _removed(_directory() / f"{target.replace('/', '-')}.json")


def take_back_named_mark(system_identifier: str, database: str) -> bool:
    """Remove the mark of that name; False when there was none."""
    return _removed(_directory() / _named_file(system_identifier, database))


def _named_file(system_identifier: str, database: str) -> str:
    return f"{system_identifier}-{hashlib.sha256(database.encode()).hexdigest()[:16]}.name"


def _write(name: str, content: Mapping[str, Any]) -> Path:
    directory = _directory()
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = directory / name
    fresh = path.with_suffix(f".{os.getpid()}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        json.dump(content, out)
    fresh.replace(path)
    return path


def _removed(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def _contents(pattern: str) -> Iterator[dict[str, Any]]:
    """Of the files that are ours alone."""
    for path in sorted(_directory().glob(pattern)):
        try:
            status = path.stat()
            content = json.loads(path.read_text())
            aware = datetime.fromisoformat(content["until"]).tzinfo is not None
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            continue
        if aware and status.st_uid == os.geteuid() and not status.st_mode & 0o022:
            yield content


def _directory() -> Path:
    home, base = os.environ.get("ROWBACK_HOME"), os.environ.get("XDG_STATE_HOME")
    state = Path(base) if base else Path.home() / ".local" / "state"
    return (Path(home) if home else state / "rowback") / "guard"
