"""What a case's journal says of its load, and how it comes to say it."""

from __future__ import annotations

from collections.abc import Callable

from recovery.model.values import Value
from recovery.reload.load_job import Loaded
from recovery.reload.paced_load import merge
from recovery.store.case_directory import Case
from recovery.workflow.recovery_run import RecoveryRun


def recording(recovery_run: RecoveryRun, event: str) -> Callable[[Value], None]:
    """A function that records a value as the data of `event`."""

    def record(value: Value) -> None:
        recovery_run.record(event, data=value.model_dump(mode="json"))

    return record


def batches_of(case: Case) -> list[Loaded]:
    """The batches of a paced load that are known to have committed."""
    return [Loaded.model_validate(note) for note in case.noted("load.portion")]


def written_by_load(case: Case) -> Loaded | None:
    """What the load wrote, or its batches so far."""
    if outcome := case.outcome_of("load"):
        return Loaded.model_validate(outcome)
    batches = batches_of(case)
    return merge(batches, skipped=sum(batch.skipped for batch in batches)) if batches else None
