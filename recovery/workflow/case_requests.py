"""What a user asks of a case, and what was shown before the user confirmed, recorded before it is acted on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from recovery.errors import ErrorId, RowbackError
from recovery.files import replace_private
from recovery.model.approval import Approval
from recovery.model.outlook import Outlook
from recovery.model.repair_plan import Pace, RepairPlan, RepairRequest
from recovery.store.case_directory import Case
from recovery.store.journal import Journal
from recovery.workflow.approvals import EVENT
from recovery.workflow.recovery_run import RecoveryRun


def record_confirmed(case: Case, journal: Journal, outlook: Outlook, approvals: Sequence[Approval]) -> None:
    """What was shown when a plan was confirmed, and who had approved its file. Raises when it cannot be written."""
    case.take(journal.append("outlook", data=outlook.model_dump(mode="json")))
    for approved in approvals:
        case.take(journal.append(EVENT, data=approved.model_dump(mode="json")))


def request_comparison(recovery_run: RecoveryRun, options: Mapping[str, object]) -> None:
    """Another mode, policy or incident for the next comparison; what `options` does not name stays as it was.

    `decisions`: the text of an edited CSV, kept in the case's directory.
    """
    case = recovery_run.case
    if text := options.get("decisions"):
        name = f"decisions-{case.new_number()}.csv"
        replace_private(case.directory / name, str(text).encode())
        options = {**options, "decisions": name}
    if options:
        request = RepairRequest.model_validate({**case.request.model_dump(), **options})
        recovery_run.record("repair.asked", data=request.model_dump(mode="json"))


def request_pace(recovery_run: RecoveryRun, plan: RepairPlan, wal_bytes_per_s: int) -> None:
    """Load `plan` at that rate: rows in batches, tables that are swapped step by step.

    Raises usage when it loads whole tables in place only, or all or nothing.
    """
    if recovery_run.case.plan.all_or_nothing:
        raise RowbackError(
            ErrorId.USAGE,
            f"case {recovery_run.case.id} was opened with --all-or-nothing, and batches are committed one by one",
            state="nothing was done",
            help=f"rowback apply {recovery_run.case.id} {plan.digest[:8]}, without --max-wal-rate",
        )
    if not plan.writes and not plan.swapped:
        raise RowbackError(
            ErrorId.USAGE,
            f"case {recovery_run.case.id} loads whole tables in place only, and those come back in one transaction",
            state="nothing was done",
            help=f"rowback apply {recovery_run.case.id} {plan.digest[:8]}, without --max-wal-rate",
        )
    recovery_run.record("load.paced", data=Pace(wal_bytes_per_s=wal_bytes_per_s).model_dump())


def drop_pace(recovery_run: RecoveryRun) -> None:
    """Load as fast as the server can, whatever was asked for before. Batches that began to come go on as they began."""
    if recovery_run.case.pace and not recovery_run.case.noted("load.portion"):
        recovery_run.record("load.paced")
