"""All targets, a file for each part of the product."""

from __future__ import annotations

from tests.fuzz.target import Target
from tests.fuzz.targets import (
    answers,
    books,
    change_sets,
    configuration,
    dsns,
    journals,
    logs,
    names,
    plans,
    statements,
    times,
)

TARGETS: tuple[Target, ...] = tuple(
    target
    for module in (
        times,
        names,
        dsns,
        logs,
        plans,
        journals,
        books,
        configuration,
        answers,
        change_sets,
        statements,
    )
    for target in module.TARGETS
)
