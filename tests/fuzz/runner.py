"""Try inputs until enough were tried, look at each new kind at the command line, and say what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.fuzz.batches import Batch, perform, rounds, scratch_directory
from tests.fuzz.command_line import Checked, checked
from tests.fuzz.outcomes import DEFECTS, End, Kind, outcome_of
from tests.fuzz.reducing import reduced
from tests.fuzz.target import Target, Unavailable, input_of

SHARE = 40  # inputs of a target of weight 1 in one round
MOST_HANGS = 10  # a target with more is given up: each costs the whole time limit
SHOWN = 400


@dataclass(frozen=True)
class Bounds:
    """How much is tried. `checks`: calls of the command line for each target, at most."""

    seed: int
    inputs: int | None = None
    seconds: float | None = None
    limit_s: float = 5.0
    checks: int = 60
    reduce: bool = True


@dataclass
class Result:
    """What came of one target. `failed`: calls of the command line that ended badly, by the kind of the input."""

    target: Target
    batch: Batch = field(default_factory=Batch)
    tried: int = 0
    checks: int = 0
    failed: dict[Kind, Checked] = field(default_factory=dict)
    remark: str = ""

    def count(self, end: End) -> int:
        """Inputs that ended so."""
        return sum(count for kind, count in self.batch.kinds.items() if kind.end is end)

    @property
    def inputs(self) -> int:
        """Inputs that were tried."""
        return self.batch.kinds.total()

    @property
    def defects(self) -> list[Kind]:
        """Kinds that must not be."""
        return [kind for kind in self.batch.kinds if kind.end in DEFECTS]


def fuzz(targets: Sequence[Target], bounds: Bounds, say: Callable[[str], None]) -> list[Result]:
    """Fuzz all of them in turn, by their weights."""
    results = {target.name: Result(target) for target in targets}
    usable = [target for target in targets if _is_available(target, results[target.name])]
    began, tried = time.monotonic(), 0
    size = SHARE if bounds.inputs is None else _share(usable, bounds.inputs)
    for target, indices in rounds(usable, size) if usable else ():
        result = results[target.name]
        if _is_over(bounds, tried, time.monotonic() - began) or all(results[t.name].remark for t in usable):
            break
        if result.remark:
            continue
        result.batch.merge(perform(target, bounds.seed, indices, bounds.limit_s))
        tried += len(indices)
        _check_new(result, bounds, say)
        if result.count(End.HANG) > MOST_HANGS:
            result.remark = f"given up after {MOST_HANGS} hangs"
    return list(results.values())


def _share(targets: Sequence[Target], inputs: int) -> int:
    """So many that even a small number of inputs reaches every target."""
    return max(1, min(SHARE, inputs // max(1, sum(target.weight for target in targets))))


def _is_available(target: Target, result: Result) -> bool:
    try:
        target.prepare()
    except Unavailable as error:
        result.remark = f"not fuzzed: {error}"
    return not result.remark


def _is_over(bounds: Bounds, tried: int, seconds: float) -> bool:
    return (bounds.inputs is not None and tried >= bounds.inputs) or (
        bounds.seconds is not None and seconds >= bounds.seconds
    )


def _check_new(result: Result, bounds: Bounds, say: Callable[[str], None]) -> None:
    """Kinds that were not met before: at the command line as well, as long as that is allowed."""
    kinds = list(result.batch.first.items())
    new, result.tried = kinds[result.tried :], len(kinds)
    for kind, index in new:
        if kind.end in DEFECTS:
            say(_of_defect(result, kind, index, bounds))
        if result.checks >= bounds.checks or kind.end is End.DIED:
            continue
        outcome = checked(result.target, input_of(result.target, bounds.seed, index))
        result.checks += outcome is not None
        if outcome and outcome.complaint:
            result.failed[kind] = outcome
            say(_of_call(result.target, kind, index, outcome))


def _of_defect(result: Result, kind: Kind, index: int, bounds: Bounds) -> str:
    data = input_of(result.target, bounds.seed, index)
    if bounds.reduce and kind.end is End.TRACEBACK:
        with scratch_directory() as directory:
            data = reduced(
                data, lambda smaller: outcome_of(result.target, smaller, directory, bounds.limit_s).kind == kind
            )
    lines = "\n".join(f"    {line}" for line in result.batch.texts[kind].splitlines())
    again = f"python -m tests.fuzz --seed {bounds.seed} --target {result.target.name} --index {index}"
    return (
        f"\n{result.target.name} {bounds.seed} {index}: {kind}\n  input: {short(repr(data))}\n  again: {again}\n{lines}"
    )


def _of_call(target: Target, kind: Kind, index: int, outcome: Checked) -> str:
    lines = "\n".join(f"    {line[:300]}" for line in outcome.details.splitlines())
    return (
        f"\n{target.name} {index} ({kind}) at the command line: {outcome.complaint}\n  {short(outcome.shown)}\n{lines}"
    )


def short(text: str) -> str:
    """Its beginning and its end, where it is long."""
    return text if len(text) <= SHOWN else f"{text[: SHOWN // 2]} … {text[-SHOWN // 2 :]} ({len(text):,} characters)"


def table(results: Sequence[Result]) -> str:
    """All targets, a line each, and the sum."""
    head = ("target", "inputs", "a second", "refusals", "tracebacks", "hangs", "kinds", "command line", "")
    rows = [_row(result) for result in results]
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)
    ]
    seconds = sum(result.batch.seconds for result in results)
    whole = sum(result.inputs for result in results)
    bad = sum(len(result.defects) + len(result.failed) for result in results)
    return "\n".join([*lines, "", f"{whole:,} inputs in {seconds:,.0f} s; {bad} kinds of defects"])


def _row(result: Result) -> tuple[str, ...]:
    failed = f", {len(result.failed)} failed" if result.failed else ""
    distinct = len([kind for kind in result.defects if kind.end is not End.HANG])
    bad = result.count(End.TRACEBACK) + result.count(End.DIED)
    return (
        result.target.name,
        f"{result.inputs:,}",
        f"{result.inputs / max(result.batch.seconds, 0.001):,.0f}",
        f"{result.count(End.REFUSED):,}",
        f"{bad:,} of {distinct} kinds" if bad else "0",
        str(result.count(End.HANG)),
        str(len(result.batch.kinds)),
        f"{result.checks}{failed}",
        result.remark,
    )


def is_clean(results: Sequence[Result]) -> bool:
    """Whether there is neither a traceback nor a hang, in this process or at the command line."""
    return not any(result.defects or result.failed for result in results)
