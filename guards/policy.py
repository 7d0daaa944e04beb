"""What a team has decided for its guards: the table [guard] of rowback.toml, here or above, and of this machine.

[guard]
strictness = "ci"                           # instead of what the variable CI says
allow = "forbidden"                         # `rowback guard allow` is ignored here
application = ["$DATABASE_URL", ".env:DATABASE_URL"]   # databases that are the application's own: never disposable
uncovered_drivers = "warn"                  # or "refuse" (in ci the default): drivers that the guard cannot guard
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from guards import system_clock
from guards.allowance import Allowance, NamedMark, allowances, named_marks
from guards.ci_job import in_ci, job_began_at
from guards.guarded_run import this_run
from guards.refusal import GuardError

Strictness = Literal["ci", "dev"]
Uncovered = Literal["warn", "refuse"]
LARGEST_BYTES = 10 * 2**30
FILE_NAME = "rowback.toml"
MACHINE_WIDE = Path("/etc/rowback") / FILE_NAME
_FIELDS = {
    "strictness": ("ci", "dev"),
    "allow": ("forbidden", "permitted"),
    "uncovered_drivers": ("warn", "refuse"),
}


@dataclass(frozen=True)
class Policy:
    """`ci`: a server that came up with the job proves itself.

    `dev`: it must be here, and marked or an hour old at most, for the one database on a developer's machine is often
    the one that must not be lost (sources: GUARD-incidents).

    `job_began_at`: guards.ci_job; None where it is not known. `run_began_at`: when the first guarded process of this
    run was started. `named`: databases that this user marked, by their names on servers of this machine.
    `uncovered_drivers`: what happens when a driver is imported that the guard cannot guard.
    `application`: where the application's own databases are said to be. `forbidden_by`: the file that forbids
    allowances, if one does.
    """

    strictness: Strictness = "dev"
    job_began_at: datetime | None = None
    run_began_at: datetime | None = None
    largest_bytes: int = LARGEST_BYTES
    application: tuple[str, ...] = ()
    allowances: tuple[Allowance, ...] = ()
    named: tuple[NamedMark, ...] = ()
    forbidden_by: Path | None = None
    uncovered_drivers: Uncovered = "warn"


@dataclass
class _PolicyTables:
    """The tables [guard] of the policy files, the nearest first."""

    tables: list[tuple[Path, dict[str, Any]]] = field(default_factory=list)

    def first(self, name: str) -> Any:
        return next((table[name] for _, table in self.tables if name in table), None)


def policy_here(
    strictness: Strictness | None = None, application: Sequence[str] = (), *, place: Path | None = None
) -> Policy:
    """The policy in force: rowback.toml of `place` and the directories above it, and the environment.

    `strictness`, where given, takes precedence over the files; `application` is added to theirs. `place`: the directory
    to search from, and to which relative file names in `application` refer (default: the working directory).
    Raises GuardError(policy-invalid) for a file that cannot be read: what it forbids is unknown.
    """
    place, now = place or Path.cwd(), system_clock.now()
    decisions = _PolicyTables(list(_tables(place)))
    forbidden_by = next((path for path, table in decisions.tables if table.get("allow") == "forbidden"), None)
    default: Strictness = decisions.first("strictness") or ("ci" if in_ci(os.environ) else "dev")
    strictness = strictness or default
    return Policy(
        strictness=strictness,
        job_began_at=job_began_at(),
        run_began_at=this_run().began_at,
        application=tuple(
            _anchored(entry, directory)
            for directory, entries in (
                (place, application),
                *((p.parent, t.get("application", ())) for p, t in decisions.tables),
            )
            for entry in entries
        ),
        allowances=() if forbidden_by else allowances(now),
        named=() if forbidden_by else named_marks(now),
        forbidden_by=forbidden_by,
        uncovered_drivers=decisions.first("uncovered_drivers") or ("refuse" if strictness == "ci" else "warn"),
    )


def _anchored(entry: str, directory: Path) -> str:
    """A `FILE:NAME` is in the directory of the file that said so, wherever we stand."""
    elsewhere = entry.startswith(("$", "django:")) or "://" in entry or "=" in entry or ":" not in entry
    return entry if elsewhere else str(directory / entry)


def _tables(start: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in (*(directory / FILE_NAME for directory in (start, *start.parents)), MACHINE_WIDE):
        if path.is_file():
            yield path, _checked(path)


def _checked(path: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(path.read_text()).get("guard", {})
    except (OSError, ValueError, RecursionError) as error:
        raise _invalid(path, f"cannot be read: {error}") from error
    for name, value in table.items() if isinstance(table, dict) else [("guard", table)]:
        if name == "application" and isinstance(value, list) and all(isinstance(each, str) for each in value):
            continue
        if value not in _FIELDS.get(name, ()):
            raise _invalid(path, f"[guard] {name} = {value!r} says nothing that is known here")
    return dict(table)


def _invalid(path: Path, fact: str) -> GuardError:
    return GuardError(
        "policy-invalid",
        f"{path}: {fact}",
        state="nothing was connected to, nothing was sent",
        help='strictness = "ci" or "dev", allow = "forbidden" or "permitted", application = ["$NAME", …],'
        ' uncovered_drivers = "warn" or "refuse"',
    )
