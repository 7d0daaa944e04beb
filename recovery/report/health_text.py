"""`rowback doctor` for a person: what is wrong first, with the fix; what is well in one line each."""

from __future__ import annotations

from collections.abc import Iterator

from guards.plain_text import joined
from recovery.model.health_report import Area, Check, Health, State

MARKS = {State.OK: "✓", State.WARNING: "!", State.PROBLEM: "✗", State.UNKNOWN: "?"}


def health_text(health: Health) -> str:
    """The whole answer."""
    lines = [f"'{health.instance}', database '{health.database}'"]
    width = max((len(check.name) for check in health.checks), default=0)
    for area in Area:
        lines += ["", str(area), *(line for c in health.checks if c.area is area for line in _check(c, width))]
    return joined([*lines, "", _summary(health)])


def _check(check: Check, width: int) -> Iterator[str]:
    yield f"  {MARKS[check.state]} {check.name:{width}}  {check.reason}"
    if check.fix and check.state is not State.OK:
        yield f"    {'':{width}}  fix: {check.fix}"


def _summary(health: Health) -> str:
    counts = [(len(health.of(state)), state) for state in (State.PROBLEM, State.WARNING, State.UNKNOWN)]
    counted_states = [
        f"{count} {state}{'s' * (count != 1 and state is not State.UNKNOWN)}" for count, state in counts if count
    ]
    well = len(health.of(State.OK))
    return f"{well} well" + (f", {', '.join(counted_states)}" if counted_states else "")
