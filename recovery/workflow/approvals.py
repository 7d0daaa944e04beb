"""The second person: approvals of plan files, of repair plans, and the refusal to write without them."""

from __future__ import annotations

import os
import pwd
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from recovery.aws.account import caller
from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError
from recovery.model.approval import Approval, Person, approvers
from recovery.model.repair import RepairPlan
from recovery.workflow.cases import Case
from recovery.workflow.errand import UNTOUCHED

EVENT = "plan.seconded"
_FILE = TypeAdapter(tuple[Approval, ...])


def me() -> Person:
    """This process's account, by its user id, and AWS identity; the latter empty where AWS does not answer."""
    try:
        aws = caller()
    except RowbackError:
        aws = ""
    try:
        account = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        account = str(os.geteuid())
    return Person(account=account, aws=aws)


def approval(digest: str, by: str, note: str) -> Approval:
    """Mine, now."""
    return Approval(digest=digest, by=by, note=note, person=me(), at=datetime.now(UTC))


def approvals_beside(plan_file: Path) -> tuple[Approval, ...]:
    """Those kept next to a plan file. Raises plan-unreadable where they cannot be read."""
    path = _path(plan_file)
    if not path.exists():
        return ()
    try:
        return _FILE.validate_json(path.read_text())
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise RowbackError(
            ErrorId.PLAN_UNREADABLE, f"{path} holds no approvals", state=NOTHING_CREATED,
            help=f"have them given again: rm {path}; rowback approve {plan_file} --by NAME",
        ) from error  # fmt: skip


def keep_beside(plan_file: Path, given: Approval) -> Path:
    """Add one next to a plan file; who may write there may approve, so the names are told and journalled."""
    path = _path(plan_file)
    kept = (*approvals_beside(plan_file), given)
    path.write_bytes(_FILE.dump_json(kept, indent=1) + b"\n")
    return path


def approvals_in(case: Case) -> list[Approval]:
    """Those in a case's journal."""
    return [Approval.model_validate(note) for note in case.noted(EVENT)]


def refuse_without_second_person(case: Case, repair: RepairPlan, *, covered: bool) -> None:
    """Refuse (approval-missing) to write what not enough others have approved.

    `covered`: the repair plan writes nothing beyond the recovery plan's whole tables, so that plan's approvals count.
    """
    needed = case.profile.approvals_needed
    if not needed:
        return
    digests = [repair.digest, *([case.plan.digest] if covered else [])]
    given = approvers(approvals_in(case), digests, case.opener or me())
    if len(given) < needed:
        names = ", ".join(f"'{each.by}'" for each in given) or "nobody"
        raise RowbackError(
            ErrorId.APPROVAL_MISSING,
            f"the profile wants {needed} approval{'s' * (needed != 1)} by others of what is written;"
            f" repair plan {repair.digest[:8]} has those of {names}",
            f"the case was opened by {case.opener}" if case.opener else "who opened the case is not known",
            state=UNTOUCHED,
            help=f"somebody else: rowback approve {case.id} {repair.digest[:8]} --by NAME;"
            f" then: rowback resume {case.id}",
        )


def _path(plan_file: Path) -> Path:
    return plan_file.with_suffix(".approvals.json")
