"""What a run found out: an answer for each assumption with what was seen, as a file that can be sent in."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from recovery.config import state_home
from recovery.errors import RowbackError
from recovery.files import private_directory, replace_private
from recovery.model.values import Moment, Value
from runbooks.acceptance.assumptions import ASSUMPTIONS, Answer, Assumption

ACCOUNT_NUMBER = re.compile(r"(?<!\d)\d{12}(?!\d)")
LOGGED_IN = 2  # the assumption that a copy can be used
NOT_TRIED = "the run ended before it was tried"


class TriedAssumption(Value):
    """What came of one assumption. `seen`: in one line."""

    number: int
    answer: Answer
    seen: str


class AcceptanceResult(Value):
    """A whole run. Holds no account number and no secret."""

    schema_version: Literal[1] = 1
    run: str
    at: Moment
    region: str
    postgres: str
    instance_class: str
    tool_version: str
    seconds: float
    findings: tuple[TriedAssumption, ...]

    @property
    def passed(self) -> bool:
        """Nothing was refuted, and a copy was logged in to: a run that could not even do that found out nothing."""
        by_number = {finding.number: finding.answer for finding in self.findings}
        return by_number[LOGGED_IN] is Answer.CONFIRMED and Answer.REFUTED not in by_number.values()


@dataclass
class Findings:
    """The answers so far."""

    by_number: dict[int, TriedAssumption] = field(default_factory=dict)

    def settle(self, number: int, answer: Answer, seen: str) -> None:
        """Answer one; the first answer counts."""
        text = ACCOUNT_NUMBER.sub("ACCOUNT", " ".join(seen.split()))
        self.by_number.setdefault(number, TriedAssumption(number=number, answer=answer, seen=text))

    def judge(self, number: int, *, holds: bool, seen: str) -> None:
        """Confirmed where it holds, else refuted."""
        self.settle(number, Answer.CONFIRMED if holds else Answer.REFUTED, seen)

    @contextlib.contextmanager
    def trying(self, *numbers: int) -> Iterator[None]:
        """An error inside leaves what is not answered yet unknown, with the error; the run goes on."""
        try:
            yield
        except RowbackError as error:
            for number in numbers:
                self.settle(number, Answer.UNKNOWN, "; ".join([error.fact, *error.facts]))

    def complete(self) -> tuple[TriedAssumption, ...]:
        """One for each assumption, in their order."""
        return tuple(self.by_number.get(each.number, _not_tried(each)) for each in ASSUMPTIONS)


def _not_tried(assumption: Assumption) -> TriedAssumption:
    return TriedAssumption(number=assumption.number, answer=Answer.UNKNOWN, seen=NOT_TRIED)


def keep(result: AcceptanceResult) -> Path:
    """Write it below the state directory. Returns the file."""
    file = private_directory(state_home() / "acceptance") / f"{result.run}.json"
    replace_private(file, (result.model_dump_json(indent=1) + "\n").encode())
    return file


def read_result(file: Path) -> AcceptanceResult:
    """What `keep` wrote."""
    return AcceptanceResult.model_validate_json(file.read_text())


def result_text(result: AcceptanceResult) -> str:
    """For a person: each assumption with its answer and what was seen."""
    claims = {each.number: each.claim for each in ASSUMPTIONS}
    lines = [f"acceptance in {result.region}, PostgreSQL {result.postgres} on {result.instance_class}", ""]
    for finding in result.findings:
        lines.append(f"{finding.number:2}  {finding.answer:9}  {claims[finding.number]}")
        lines.append(f"               {finding.seen}")
    return "\n".join(lines)
