"""What a step is: four verbs and a question for after a crash."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from recovery.workflow.recovery_run import Outcome, RecoveryRun


class Step(ABC):
    """One step of the run. `undo` says in words how it is taken back, or why it needs no undoing."""

    name: ClassVar[str]
    title: ClassVar[str]
    undo: ClassVar[str]

    def check(self, recovery_run: RecoveryRun) -> None:  # noqa: B027 (most steps have nothing to check)
        """Read-only; may refuse before anything is journalled as begun."""

    def intent(self, recovery_run: RecoveryRun) -> Outcome:
        """What has to be on record before `do`, so that its effect can be recognized after a crash."""
        return {}

    def reconcile(self, recovery_run: RecoveryRun) -> Outcome | None:
        """After a crash in `do`: ask AWS or PostgreSQL whether it happened. None: no, or it may safely happen again."""
        return None

    @abstractmethod
    def do(self, recovery_run: RecoveryRun) -> Outcome:
        """Act, and say what later steps and the report need to know."""

    def tell(self, outcome: Outcome) -> str:
        """The outcome in a few words, for the progress lines."""
        return ""
