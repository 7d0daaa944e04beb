"""What a load that did not get to its end left in the original, put in order before anything else is done."""

from __future__ import annotations

from recovery.model.plain_index import named_indexes
from recovery.store.case_directory import Case
from recovery.workflow.recovery_run import RecoveryRun
from recovery.workflow.steps.swap_tables import hidden_schema, remove_hidden
from recovery.workflow.steps.unbuilt_indexes import settle_indexes, unbuilt_indexes


def settle_load(recovery_run: RecoveryRun, *, then: str = "") -> None:
    """Remove hidden tables, and build the indexes that were dropped. `then`: the command that goes on from an error.

    Raises lock-not-granted, load-refused, or what the server answers.
    """
    remove_hidden(recovery_run, then=then)
    settle_indexes(recovery_run, then=then)


def left_by_load(case: Case) -> list[tuple[str, str]]:
    """What may have to be put in order: what it is, and what has to be done with it (`built`, `removed`)."""
    left = []
    if schema := hidden_schema(case):
        left.append((f"schema {schema}", "removed"))
    if unbuilt := unbuilt_indexes(case):
        left.append((named_indexes(unbuilt), "built"))
    return left
