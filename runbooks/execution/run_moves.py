"""How people move a run: begin steps anew, leave one out, agree to one. Written down before it is acted on."""

from __future__ import annotations

from recovery.errors import ErrorId, RowbackError
from recovery.model.approval import Approval, Distinct
from recovery.store.journal import Journal
from recovery.workflow.approvals import approval
from runbooks.execution.run_store import BookRun


def begin_again(opened: BookRun, journal: Journal, first: str) -> None:
    """Step `first` and all behind it are to be done anew. An approval of what stood there is none of what comes."""
    ids = [step.id for step in opened.book.steps]
    for id in ids[ids.index(first) :]:
        if opened.state(id).over or opened.state(id).open_since or opened.approvals.get(id):
            opened.take(journal.append("step.again", step=id))


def leave_out(opened: BookRun, journal: Journal, step: str, reason: str) -> None:
    """Step `step` is not done, for `reason`."""
    opened.take(journal.append("step.skipped", step=step, data={"reason": reason}))


def approve_step(opened: BookRun, journal: Journal, step: str, by: str, note: str) -> Approval:
    """The current principal's agreement to `step`, written down.

    Raises approval-missing when that is the person who began the run.
    """
    approved = approval(step, by, note, None)
    if not approved.person.is_another_than(opened.how.opener, Distinct(opened.book.approvals_by)):
        raise RowbackError(
            ErrorId.APPROVAL_MISSING,
            f"'{by}' ({approved.person}) is not another than {opened.how.opener}, who began run {opened.id}",
            state="nothing was approved",
            help="a person with other AWS credentials approves it; on a lab:"
            f' (eval "$(rowback lab colleague)"; rowback runbook approve {opened.id} {step} --by NAME)',
        )
    journal.append("step.approved", step=step, data=approved.model_dump(mode="json"))
    return approved
