"""Prove once more what a case wrote, at any later time."""

from __future__ import annotations

from recovery.compare.changes import ChangeSet
from recovery.errors import ErrorId, RowbackError
from recovery.model.report import Verification
from recovery.postgres.catalog import read_catalog
from recovery.postgres.repair.stage import before_image_schema
from recovery.reload.load import AtTarget, Job, Loaded, Repair
from recovery.reload.verify import verify
from recovery.workflow.errand import Errand
from recovery.workflow.steps.load import differs, job
from recovery.workflow.undo import last_written


def verify_again(errand: Errand) -> Verification:
    """The proof of the last write, recorded. Raises nothing-to-undo's twin when nothing was written, verify-differs."""
    last = last_written(errand.case)
    if last is None:
        raise RowbackError(
            ErrorId.NOTHING_TO_UNDO, f"case {errand.case.id} has written nothing that could be verified",
            state="nothing was done", help=f"rowback status {errand.case.id}",
        )  # fmt: skip
    found = _verify_undo(errand, last) if errand.case.noted("undo.done") else _verify_load(errand, last)
    errand.record("verified.again", data=found.model_dump(mode="json"))
    if not found.proven:
        raise differs(errand, found)
    return found


def _verify_load(errand: Errand, last: Loaded) -> Verification:
    with errand.live() as live, job(errand, live) as what:
        return verify(live, what, last)


def _verify_undo(errand: Errand, last: Loaded) -> Verification:
    assert last.number
    case = errand.case
    with errand.live() as live, ChangeSet(case.changes_path(last.number)) as changes:
        catalog = read_catalog(live)
        nowhere = AtTarget(fingerprints={}, sequences=(), oldest_version_num=live.info.server_version)
        what = Job(case.plan.database, catalog, [], nowhere, (), 0, 0,
                   Repair(changes, last.number, before_image_schema(case.id)))  # fmt: skip
        return verify(live, what, last)
