"""Schedules: everything that a seed decides."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tests.soak.faults import Fault, draw_fault, draw_fault_of_command
from tests.soak.world import NAMES, World, draw

MODES = ("missing", "missing", "repair", "repair", "replace")
PAUSES_S = (0.005, 0.02, 0.02, 0.1)
LONGER_S = (0.02, 0.1, 0.3)
NAMES_IN_DUMPS = tuple(
    name for name in NAMES if "\n" not in name
)  # pg_dump's COPY header is read up to the first newline


@dataclass(frozen=True)
class Act:
    """What an operator does, the fault of the first try, and whether others write meanwhile."""

    verb: str
    fault: Fault | None
    calm: bool


@dataclass(frozen=True)
class Schedule:
    """One drawn schedule. `bursts`: writes of each before and after the incident; `pause_s`: of the writers; `second`:
    a second operator recovers the same rows at the same time; `reaps`: somebody runs reap in between; `impostor`: an
    instance takes the name and tags of a copy whose start was never confirmed; `closing`: the fault of the close."""

    seed: int
    world: World
    mode: str
    paced: bool
    bursts: tuple[int, int]
    acts: tuple[Act, ...]
    second: bool
    pause_s: float
    transport: str = "copy"
    reaps: bool = False
    impostor: bool = False
    closing: Fault | None = None

    def __str__(self) -> str:
        pace, second = ", paced" * self.paced, ", second operator" * self.second
        return f"seed {self.seed}: mode {self.mode}{pace}{second}, {self.world.incident.kind}, by {self.transport}"


def draw_on_server(seed: int) -> Schedule:
    """Level 2: a recovery in steps, then up to two undos."""
    rng = random.Random(f"level 2 schedule {seed}")
    world, mode, paced = draw(rng), rng.choice(MODES), rng.random() < 0.35
    second = rng.random() < 0.1
    verbs = ["compare", "load", *([] if second else ["undo", "undo"][: rng.choice([0, 1, 1, 2])])]
    acts = tuple(
        Act(verb, draw_fault(rng, verb, paced=paced), rng.random() < (0.8 if verb == "compare" else 0.4))
        for verb in verbs
    )
    bursts = (rng.randint(0, 3), rng.randint(0, 6))
    return Schedule(seed, world, mode, paced, bursts, acts, second, rng.choice(PAUSES_S))


def draw_on_lab(seed: int) -> Schedule:
    """Level 1: restore in one command, or open, diff and apply; then perhaps an undo and one of that."""
    rng = random.Random(f"level 1 schedule {seed}")
    transport, at_once = rng.choice(["copy", "dump"]), rng.random() < 0.5
    world = draw(rng, names=NAMES if transport == "copy" else NAMES_IN_DUMPS, most_rows=300)
    mode = rng.choice(["missing", "missing", "repair", "beside"] if at_once else MODES)
    paced, second = not at_once and rng.random() < 0.3, rng.random() < 0.15
    undos = [] if second or mode == "beside" else ["undo", "undo"][: rng.choice([0, 1, 1, 2])]
    verbs: Sequence[str] = [*(["restore"] if at_once else ["open", "diff", "apply"]), *undos]
    faulty = rng.randrange(len(verbs))
    acts = tuple(
        Act(verb, draw_fault_of_command(rng, verb, sure=n == faulty), calm=rng.random() < 0.3)
        for n, verb in enumerate(verbs)
    )
    bursts = (rng.randint(0, 3), rng.randint(0, 6))
    return Schedule(
        seed,
        world,
        mode,
        paced,
        bursts,
        acts,
        second,
        rng.choice(LONGER_S),
        transport,
        reaps=rng.random() < 0.2,
        impostor=rng.random() < 0.1,
        closing=draw_fault_of_command(rng, "close", sure=False),
    )
