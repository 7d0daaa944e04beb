"""Figures of a run, and the table at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.soak.known import sorted_out
from tests.soak.schedules import Schedule


@dataclass(frozen=True)
class Failure:
    """One schedule in which an invariant is broken."""

    level: int
    seed: int
    steps: tuple[str, ...]
    broken: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"FAILED: python -m tests.soak --level {self.level} --seed {self.seed} --schedules 1"]
        lines += [f"  {number}. {step}" for number, step in enumerate(self.steps, 1)]
        return "\n".join([*lines, *(f"  BROKEN {what}" for what in self.broken)])


@dataclass
class Tally:
    """What happened in all schedules of one level."""

    level: int
    schedules: int = 0
    seconds: float = 0.0
    drawn: Counter[str] = field(default_factory=Counter)
    struck: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    incidents: Counter[str] = field(default_factory=Counter)
    commits: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    longest_wait_s: float = 0.0
    failures: list[Failure] = field(default_factory=list)
    known: Counter[str] = field(default_factory=Counter)

    def played(self, schedule: Schedule, seconds: float) -> None:
        """Count one schedule."""
        self.schedules += 1
        self.seconds += seconds
        self.incidents[f"{schedule.world.incident.kind}/{schedule.mode}"] += 1

    def judged(self, seed: int, steps: Sequence[str], broken: Sequence[str]) -> Failure | None:
        """Count what is broken in one schedule, known defects apart."""
        unknown, known = sorted_out(broken)
        self.known.update(known)
        if not unknown:
            return None
        self.failures.append(Failure(self.level, seed, tuple(steps), tuple(unknown)))
        return self.failures[-1]

    @property
    def broken(self) -> int:
        """Invariants broken."""
        return sum(len(failure.broken) for failure in self.failures)

    @property
    def kills(self) -> int:
        """Processes of rowback that were killed."""
        return sum(count for kind, count in self.struck.items() if kind.startswith("kill"))

    def table(self) -> str:
        """The summary."""
        each = self.seconds / self.schedules if self.schedules else 0.0
        rows = [
            ("schedules", f"{self.schedules} in {self.seconds:.0f} s, {each:.2f} s each"),
            ("incidents", _counted(self.incidents)),
            ("kills", str(self.kills)),
            ("faults struck", f"{self.struck.total()} of {self.drawn.total()}"),
            *(("", f"{kind}: {self.struck[kind]} of {count}") for kind, count in sorted(self.drawn.items())),
            ("writer commits", f"{self.commits:,}, longest wait {self.longest_wait_s:.2f} s"),
            ("writers refused", _counted(self.refused)),
            *_listed("outcomes", self.ends),
            *_listed("known defects", self.known),
            ("invariants broken", str(self.broken)),
        ]
        return "\n".join([f"soak, level {self.level}", *(f"  {name:18} {text}" for name, text in rows)])


def _listed(name: str, counter: Counter[str]) -> list[tuple[str, str]]:
    return [(name if not n else "", f"{what}: {count}") for n, (what, count) in enumerate(sorted(counter.items()))]


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in counter.most_common()) or "none"
