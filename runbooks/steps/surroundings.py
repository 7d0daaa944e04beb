"""What a step is run in, and how it says that it did not end as it promised."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from recovery.config import Profile
from recovery.redaction import Redactor


class StepError(Exception):
    """A step did not end as it promised. The text says how."""


class CutOff(StepError):
    """A step was ended before it ended itself: what it had done by then is not known."""


@dataclass(frozen=True)
class Surroundings:
    """What a step is run in.

    `values`: of variables; `logs`: where its output goes; `redact`: what is masked; `connections`: by name. Its
    commands get the run's `mark` and profile. `begun` is called with each child's process id. `overruled`: values given
    with -p that replace those that a step would save.
    """

    values: Mapping[str, str]
    logs: Path
    redact: Redactor
    profile: Profile
    connections: Mapping[str, str]
    mark: str = ""
    profile_name: str | None = None
    begun: Callable[[int], None] = lambda pid: None
    overruled: Mapping[str, str] = field(default_factory=dict)

    def output(self, id: str, number: int) -> Path:
        """Where the stdout of a step is kept."""
        return self.logs / f"{number:02d}-{id}.out"
