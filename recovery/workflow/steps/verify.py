"""Prove the result on the original, after the commit."""

from __future__ import annotations

from contextlib import ExitStack

from recovery.compare.changes import ChangeSet
from recovery.compare.proving import Written, prove_world
from recovery.compare.repair import compare_again
from recovery.errors import ErrorId, RowbackError
from recovery.model.report import Verification, WorldProof
from recovery.model.values import counted
from recovery.postgres.connect import Session
from recovery.postgres.repair.remembered import Remembered
from recovery.reload.job import Loaded, Repair
from recovery.reload.verify import verify
from recovery.workflow.errand import Errand, Outcome
from recovery.workflow.references import check_references
from recovery.workflow.steps.base import Step
from recovery.workflow.steps.diff import CHECKSUMS, inquiry_of
from recovery.workflow.steps.load import Load, job
from recovery.workflow.steps.rows import filled_tables

COPY_IS_LOST = (ErrorId.SERVER_UNREACHABLE, ErrorId.COPY_FAILED)


class Verify(Step):
    """Prove the result on the original, after the commit."""

    name, title = "verify", "prove the result"
    undo = "reads only"

    def do(self, errand: Errand) -> Outcome:
        """Compare; a difference is an error, and the temporary instance stays for a look."""
        loaded = Loaded.model_validate(errand.case.outcome_of(Load.name))
        with errand.live() as live, job(errand, live) as what, ExitStack() as opened:
            found = verify(live, what, loaded)
            if what.repair is not None:
                found = found.model_copy(update=_compared_again(errand, live, what.repair, loaded, opened))
            if errand.profile.references:
                found = found.model_copy(update={"references": check_references(errand, live, loaded)})
        errand.record("verification", data=found.model_dump(mode="json"))
        if not found.proven:
            raise differs(errand, found)
        return found.model_dump(mode="json")

    def tell(self, outcome: Outcome) -> str:
        """The verdict."""
        found = Verification.model_validate(outcome)
        return f"{counted(found.rows, 'row')} as planned, {found.foreign_keys_checked} foreign keys hold"


def _compared_again(
    errand: Errand, live: Session, repair: Repair, loaded: Loaded, opened: ExitStack
) -> dict[str, tuple[WorldProof, ...] | str]:
    """Everything compared with the copy once more, beside what the load itself proved; or why that cannot be: a copy
    that died since is not needed for rows that are back."""
    try:
        copy = opened.enter_context(errand.copy())
    except RowbackError as error:
        if error.id not in COPY_IS_LOST:
            raise
        return {"not_compared_again": error.fact}
    case = errand.case
    path = case.directory / "proof.sqlite"
    path.unlink(missing_ok=True)
    left_out = repair.changes.portions.skipped() if len(loaded.xids) > 1 else repair.changes.skipped(loaded.xids[0])
    with ChangeSet(path) as changes, Remembered(case.directory / CHECKSUMS) as memory:
        again = compare_again(live, copy, inquiry_of(errand, filled_tables(errand)), changes, ask=memory.ask)
        found = prove_world(again, Written(repair.changes, loaded.xids, left_out))
    path.unlink()
    return {"world": found}


def differs(errand: Errand, found: Verification) -> RowbackError:
    """What the verification found, with the keys."""
    lines = [f"{p.table}: {p.at_target.rows:,} rows at T, {p.now.rows:,} now" for p in found.tables if not p.equal]
    for proof in found.repaired:
        lines += [f"differs: {row}" for row in proof.differing]
        if not proof.proven:
            lines.append(f"{proof.table}: {proof.equal:,} of {proof.rows:,} written rows are as planned")
    if found.dangling_references:
        lines.append(f"{found.dangling_references:,} rows reference a row that does not exist")
    lines += [f"{table} was changed by the load" for table in found.changed_outside_scope]
    lines += [f"index {name} is invalid" for name in found.invalid_indexes]
    lines += [
        f"{proof.table}: {proof.unexplained_rows:,} rows differ from T, and the plan did not say so: "
        f"{'; '.join(proof.unexplained)}"
        for proof in found.world
        if proof.unexplained_rows
    ]
    return RowbackError(
        ErrorId.VERIFY_DIFFERS,
        f"'{errand.case.plan.database}' is not what it was proven to be before the commit",
        *lines,
        state="the rows were put back and committed",
        help=f"look, then check again: rowback resume {errand.case.id}; or end it: rowback close {errand.case.id}",
    )
