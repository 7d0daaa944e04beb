"""The second person: approvals of plan files, of repair plans and undos, and the refusal to write without them."""

from __future__ import annotations

import os
import pwd
import re
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from guards.plain_text import shell_word
from recovery.aws.caller_identity import caller
from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError
from recovery.model.approval import Approval, Demand, Person, approvers
from recovery.model.repair_plan import RepairPlan
from recovery.store.case_directory import Case
from recovery.store.journal import Journal
from recovery.workflow.recovery_run import UNTOUCHED

EVENT = "plan.seconded"


def current_principal(region: str | None) -> Person:
    """This process's account, by its user id, and AWS identity; the latter empty where AWS does not answer."""
    try:
        aws = caller(region)
    except RowbackError:
        aws = ""
    try:
        account = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        account = str(os.geteuid())
    return Person(account=account, aws=aws)


def approval(digest: str, by: str, note: str, region: str | None) -> Approval:
    """An approval by the current principal, as of now."""
    return Approval(digest=digest, by=by, note=note, person=current_principal(region), at=datetime.now(UTC))


def approval_for(case: Case, label: str, by: str, note: str) -> Approval:
    """The current principal's agreement to what `label` names; record_approval writes it down.

    Raises approval-missing when that is the person who opened the case.
    """
    approved = approval(label, by, note, case.plan.source.region)
    opener = case.opener
    if opener and not approved.person.is_another_than(opener, demand_of(case).by):
        raise RowbackError(
            ErrorId.APPROVAL_MISSING,
            f"'{by}' ({approved.person}) is not another than {opener}, who opened case {case.id}",
            f"people are told apart by {demand_of(case).by} (approvals_by in rowback.toml)",
            state="nothing was approved",
            help="another person must approve it, with their own identity",
        )
    return approved


def record_approval(journal: Journal, approved: Approval) -> None:
    """Write an agreement down, in the journal of its case. Raises when it cannot be written."""
    journal.append(EVENT, data=approved.model_dump(mode="json"))


def approvals_beside(plan_file: Path) -> list[Approval]:
    """Those kept next to a plan file, a file each. Raises plan-unreadable where one cannot be read."""
    approvals = []
    for path in sorted(plan_file.parent.glob(f"{_escaped(plan_file.stem)}.approved-*.json")):
        try:
            approvals.append(Approval.model_validate_json(path.read_text()))
        except (OSError, UnicodeDecodeError, ValidationError) as error:
            raise RowbackError(
                ErrorId.PLAN_UNREADABLE,
                f"{path} holds no approval",
                state=NOTHING_CREATED,
                help=f"have it given again: rm {path}; rowback approve {plan_file} --by NAME",
            ) from error
    return sorted(approvals, key=lambda each: each.at)


def keep_beside(plan_file: Path, approved: Approval) -> Path:
    """Write one next to a plan file, whole or not at all. Raises usage where it cannot be written."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", approved.by).strip("-") or "approver"
    path = plan_file.with_name(f"{plan_file.stem}.approved-{name}-{approved.at:%H%M%S%f}.json")
    scratch = path.with_suffix(".new")
    try:
        scratch.write_text(approved.model_dump_json(indent=1) + "\n")
        scratch.replace(path)
    except OSError as error:
        raise RowbackError(
            ErrorId.USAGE,
            f"{path} cannot be written: {error.strerror}",
            state="nothing was approved",
            help=f"copy {plan_file} to where you may write, approve it there, and hand back what is written next to it",
        ) from error
    return path


def approvals_in(case: Case) -> list[Approval]:
    """Those in a case's journal."""
    return [Approval.model_validate(note) for note in case.noted(EVENT)]


def demand_of(case: Case) -> Demand:
    """The plan's demand, or the profile's where that wants more: neither can be left out."""
    return case.plan.approvals.or_stricter(case.profile.approvals)


def undo_label(case: Case) -> str:
    """What is approved for the next undo of a case."""
    return f"undo {len(case.noted('undo.done'))}"


def refuse_without_second_person(case: Case, repair: RepairPlan, *, covered: bool) -> None:
    """Refuse (approval-missing) to write what not enough others have approved.

    `covered`: the repair plan writes nothing beyond the recovery plan's whole tables, so that plan's approvals count.
    """
    digests = [repair.digest, *([case.plan.digest] if covered else [])]
    go_on = f"rowback resume {case.id}"
    if not covered:
        go_on = f"rowback apply {case.id} {repair.digest[:8]} --confirm {shell_word(case.plan.database)}"
    _refuse(case, digests, f"repair plan {repair.digest[:8]}", f"{repair.digest[:8]} --by NAME; then: {go_on}")


def refuse_undo_without_second_person(case: Case) -> None:
    """The same for taking back what was written."""
    go_on = f"rowback undo {case.id} --confirm {shell_word(case.plan.database)}"
    _refuse(case, [undo_label(case)], "the undo of its last write", f"undo --by NAME; then: {go_on}")


def _refuse(case: Case, digests: list[str], what: str, then: str) -> None:
    demand = demand_of(case)
    if not demand.needed:
        return
    opener = case.opener or current_principal(case.plan.source.region)
    valid = approvers(approvals_in(case), digests, opener, demand.by)
    if len(valid) < demand.needed:
        names = ", ".join(f"'{each.by}'" for each in valid) or "nobody"
        raise RowbackError(
            ErrorId.APPROVAL_MISSING,
            f"{demand.needed} approval{'s' * (demand.needed != 1)} by others of what is written"
            f" {'is' if demand.needed == 1 else 'are'} wanted; {what} has those of {names}",
            f"the case was opened by {opener}; others are told apart by {demand.by} (approvals_by)",
            state=UNTOUCHED if not case.wrote_to_original else "nothing more was written",
            help=f"another person: rowback approve {case.id} {then}",
        )


def _escaped(stem: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", stem)
