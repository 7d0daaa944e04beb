"""Prove the result on the original, after the commit."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

from recovery.changeset.change_set import ChangeSet
from recovery.compare.make_repair_plan import compare_again
from recovery.compare.post_commit_diff import Written, prove_world
from recovery.errors import ErrorId, RowbackError
from recovery.model.recovery_report import Verification, WorldProof
from recovery.model.values import counted
from recovery.postgres.comparison.scan_cache import Remembered
from recovery.postgres.connect import Session
from recovery.reload.load_job import Job, Loaded, Repair
from recovery.reload.verify_after_commit import verify
from recovery.workflow.recovery_run import Outcome, RecoveryRun
from recovery.workflow.reference_checks import check_references
from recovery.workflow.steps.diff_step import CHECKSUMS, inquiry_of
from recovery.workflow.steps.load_step import Load, job
from recovery.workflow.steps.recreated_proof import came_along, with_objects
from recovery.workflow.steps.row_steps import filled_tables
from recovery.workflow.steps.step import Step

COPY_IS_LOST = (ErrorId.SERVER_UNREACHABLE, ErrorId.COPY_FAILED)


class Verify(Step):
    """Prove the result on the original, after the commit."""

    name, title = "verify", "prove the result"
    undo = "reads only"

    def do(self, recovery_run: RecoveryRun) -> Outcome:
        """Compare what was written with what was planned.

        Raises verify-differs for a difference, and the copy stays for a look.
        """
        loaded = Loaded.model_validate(recovery_run.case.outcome_of(Load.name))
        anew = recovery_run.case.plan.request.reload_mode.anew
        with recovery_run.original() as original, job(recovery_run, original) as what, ExitStack() as opened:
            verification = verify(original, *(as_far_as_seen(what, loaded) if anew else (what, loaded)))
            if what.repair is not None:
                verification = verification.model_copy(
                    update=_compared_again(recovery_run, original, what.repair, loaded, opened)
                )
            if anew:
                verification = with_objects(recovery_run, original, verification)
                along = verification.objects_differ + came_along(recovery_run)
                verification = verification.model_copy(update={"objects_differ": along})
            if recovery_run.profile.references:
                verification = verification.model_copy(
                    update={"references": check_references(recovery_run, original, loaded)}
                )
        recovery_run.record("verification", data=verification.model_dump(mode="json"))
        if not verification.proven:
            raise differs(recovery_run, verification)
        return verification.model_dump(mode="json")

    def tell(self, outcome: Outcome) -> str:
        """The verdict."""
        verification = Verification.model_validate(outcome)
        return f"{counted(verification.rows, 'row')} as planned, {verification.foreign_keys_checked} foreign keys hold"


def as_far_as_seen(what: Job, loaded: Loaded) -> tuple[Job, Loaded]:
    """Rows under a key that is NOT VALID may have dangled at T: such a key is as it was, and so are they.

    Of tables whose policies hide rows from this role nothing can be counted; they were proven before the commit.
    """
    keys = tuple(key for key in what.catalog.foreign_keys if key.validated)
    seen = [pair for pair in what.fills if not pair.original.row_security]
    names = {str(pair.name) for pair in seen}
    touched = {table: rows for table, rows in loaded.touched.items() if table in names}
    what = replace(what, fills=seen, catalog=what.catalog.model_copy(update={"foreign_keys": keys}))
    return what, loaded.model_copy(update={"touched": touched})


def _compared_again(
    recovery_run: RecoveryRun, original: Session, repair: Repair, loaded: Loaded, opened: ExitStack
) -> dict[str, tuple[WorldProof, ...] | str]:
    """Everything compared with the copy once more, beside what the load itself proved; or why that cannot be.

    A copy that died since is not needed for rows that are back.
    """
    try:
        copy = opened.enter_context(recovery_run.copy())
    except RowbackError as error:
        if error.id not in COPY_IS_LOST:
            raise
        return {"not_compared_again": error.fact}
    case = recovery_run.case
    path = case.directory / "proof.sqlite"
    path.unlink(missing_ok=True)
    left_out = repair.changes.batches.skipped() if len(loaded.xids) > 1 else repair.changes.skipped(loaded.xids[0])
    with ChangeSet(path) as changes, Remembered(case.directory / CHECKSUMS) as memory:
        again = compare_again(
            original, copy, inquiry_of(recovery_run, filled_tables(recovery_run)), changes, ask=memory.ask
        )
        proof = prove_world(again, Written(repair.changes, loaded.xids, left_out))
    path.unlink()
    return {"world": proof}


def differs(recovery_run: RecoveryRun, verification: Verification) -> RowbackError:
    """What the verification found, with the keys."""
    lines = [
        f"{p.table}: {p.at_target.rows:,} rows at T, {p.now.rows:,} now" for p in verification.tables if not p.equal
    ]
    for proof in verification.repaired:
        lines += [f"differs: {row}" for row in proof.differing]
        if not proof.proven:
            lines.append(f"{proof.table}: {proof.equal:,} of {proof.rows:,} written rows are as planned")
    if verification.dangling_references:
        lines.append(f"{verification.dangling_references:,} rows reference a row that does not exist")
    lines += [f"{table} was changed by the load" for table in verification.changed_outside_scope]
    lines += list(verification.objects_differ)
    lines += [f"index {name} is invalid" for name in verification.invalid_indexes]
    lines += [
        f"{proof.table}: {proof.unexplained_rows:,} rows differ from T, and the plan did not say so: "
        f"{'; '.join(proof.unexplained)}"
        for proof in verification.world
        if proof.unexplained_rows
    ]
    return RowbackError(
        ErrorId.VERIFY_DIFFERS,
        f"'{recovery_run.case.plan.database}' is not what it was proven to be before the commit",
        *lines,
        state="the rows were put back and committed",
        help=f"look, then check again: rowback resume {recovery_run.case.id}; or end it: rowback close"
        f" {recovery_run.case.id}",
    )
