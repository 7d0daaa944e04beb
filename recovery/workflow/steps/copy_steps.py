"""Steps around the copy: start, wait, take over, remove."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime, timedelta

from recovery.errors import ErrorId, RowbackError
from recovery.model.deletion import CreationRequest
from recovery.model.instance import InstanceFacts, Storage
from recovery.model.target import format_utc
from recovery.planning.make_plan import check_facts
from recovery.postgres.comparison.row_lineage import lineage_of, own_boundary
from recovery.postgres.connect import connect
from recovery.postgres.quarantine import make_inert, prove_copy
from recovery.workflow.recovery_run import UNTOUCHED, Outcome, RecoveryRun
from recovery.workflow.steps.definitions import dump_target
from recovery.workflow.steps.step import Step

VISIBILITY_LOOKS = 10


class CheckFacts(Step):
    """Nothing is created for a plan whose facts are no longer so."""

    name, title = "check-facts", "check that the plan still holds"
    undo = "reads only"

    def do(self, recovery_run: RecoveryRun) -> Outcome:
        """Read RDS and the live database again."""
        check_facts(recovery_run.case.plan, recovery_run.instances, recovery_run.profile)
        return {}


class StartCopy(Step):
    """Ask RDS for a copy of the original as of T."""

    name, title = "start-copy", "start the copy"
    undo = "remove-copy deletes it; so does: rowback close CASE"

    def intent(self, recovery_run: RecoveryRun) -> Outcome:
        """The nonce by which the instance is recognized, the same for every attempt: the answer of any may be lost."""
        creation = recovery_run.case.copy.creation or CreationRequest(
            nonce=secrets.token_hex(16), requested_at=datetime.now(UTC), target_time=recovery_run.case.plan.target_time
        )
        return creation.model_dump(mode="json")

    def reconcile(self, recovery_run: RecoveryRun) -> Outcome | None:
        """The call may have reached RDS before the crash: an instance with this case's nonce is its copy.

        Raises instance-unsuitable where another instance has its name.
        """
        copy = recovery_run.case.copy
        instance, objections = recovery_run.instances.identify(copy, recovery_run.listener.progress)
        if instance is None:
            return None
        if objections:
            raise RowbackError(
                ErrorId.INSTANCE_UNSUITABLE,
                f"an instance '{copy.identifier}' exists that is not proven to be this case's",
                *objections,
                state=f"it was not touched; {UNTOUCHED}",
                help=f"find out whose it is, then: rowback close {copy.case}",
            )
        return {"identifier": instance.identifier, "resource_id": instance.resource_id}

    def do(self, recovery_run: RecoveryRun) -> Outcome:
        """RestoreDBInstanceToPointInTime with every dangerous default set explicitly."""
        plan = recovery_run.case.plan
        started = recovery_run.instances.start_copy(
            recovery_run.case.copy, plan.source, plan.database, plan.copy_settings
        )
        return {"identifier": started.identifier, "resource_id": started.resource_id}

    def tell(self, outcome: Outcome) -> str:
        """Its name."""
        return str(outcome["identifier"])


class AwaitCopy(Step):
    """Wait until RDS has restored it."""

    name, title = "await-copy", "wait until it is restored"
    undo = "nothing to take back"

    def do(self, recovery_run: RecoveryRun) -> Outcome:
        """Poll; final states end the wait at once."""
        facts = recovery_run.copy_facts()
        return {
            "engine_version": facts.engine_version,
            "status": facts.status,
            "slower": _slower(recovery_run.case.plan.source.storage, facts),
        }

    def tell(self, outcome: Outcome) -> str:
        """What came up."""
        return ", ".join([f"PostgreSQL {outcome['engine_version']}", *outcome.get("slower", ())])


def _slower(storage: Storage, copy: InstanceFacts) -> list[str]:
    """Why reading the copy takes longer than reading the original does."""
    reasons = []
    if copy.loaded_percent is not None:
        reasons.append(f"{copy.loaded_percent} % of its storage loaded from S3, the rest when it is read")
    if storage.kind and copy.storage != storage:
        reasons.append(f"on {copy.storage}, where the original has {storage}")
    return reasons


class SecureCopy(Step):
    """Set a random password, disable what acts by itself, and prove that it is the copy and not the original."""

    name, title = "secure-copy", "take it over and make it inert"
    undo = "the copy is thrown away"

    def do(self, recovery_run: RecoveryRun) -> Outcome:
        """Change the password first: from then on only this process can connect. Raises target-too-late."""
        target = recovery_run.copy_target()
        with recovery_run.original() as original, connect(target, state=UNTOUCHED) as copy:
            identity = prove_copy(original, copy, recovery_run.case.plan.identity)
            boundary = own_boundary(copy)
            named = recovery_run.case.plan.request.incident_xids
            late = sorted(set(named) - lineage_of(original, copy, boundary).after_target(named)) if named else []

        def look() -> None:
            if recovery_run.case.plan.request.reload_mode.anew:
                with connect(target, state=UNTOUCHED) as copy:
                    dump_target(recovery_run, copy)

        stopped = make_inert(target, look)
        if late:
            raise _too_late(recovery_run, late[0])
        same = identity.system_identifier == recovery_run.case.plan.identity.system_identifier
        return {
            **stopped,
            "server_version_num": identity.server_version_num,
            "own_transactions_from": boundary if same else None,
        }

    def tell(self, outcome: Outcome) -> str:
        """What was stopped."""
        return f"{outcome['subscriptions_disabled']} subscriptions, {outcome['jobs_stopped']} jobs stopped"


def _too_late(recovery_run: RecoveryRun, xid: int) -> RowbackError:
    """A transaction of the incident that is committed in the copy proves that T lies behind it."""
    target = recovery_run.case.plan.target_time
    earlier = format_utc(target - timedelta(seconds=1))
    return RowbackError(
        ErrorId.TARGET_TOO_LATE,
        f"at {format_utc(target)} transaction {xid} of the incident was committed already",
        "the copy says so, which was restored to that moment: it holds the damage",
        state=UNTOUCHED,
        help=f"rowback close {recovery_run.case.id}, then the same with an earlier time, such as --at {earlier}",
    )


class RemoveCopy(Step):
    """Delete the copy, under guard."""

    name, title = "remove-copy", "remove the copy"
    undo = "cannot be undone, and need not be: T can be restored again while the window holds it"

    def do(self, recovery_run: RecoveryRun) -> Outcome:
        """Delete only what prefix, tag, recorded resource id and "is not the source" prove to be ours."""
        return {"removed": remove_copy(recovery_run)}


def _unconfirmed(recovery_run: RecoveryRun) -> Outcome | None:
    """What RDS did with a call whose answer was lost. It may show the instance only after a while."""
    state = recovery_run.case.steps[StartCopy.name]
    looks = VISIBILITY_LOOKS if state.failed is None else 1
    for _ in range(looks - 1):
        if confirmed := StartCopy().reconcile(recovery_run):
            return confirmed
        time.sleep(recovery_run.instances.poll_s)
    return StartCopy().reconcile(recovery_run)


def remove_copy(recovery_run: RecoveryRun) -> bool:
    """Delete the case's copy and wait until it is gone; False when there was none."""
    begun = recovery_run.case.steps.get(StartCopy.name)
    if begun and begun.done is None and (started := _unconfirmed(recovery_run)):
        recovery_run.record("step.done", step=StartCopy.name, data=started)
    return recovery_run.instances.delete_copy(
        recovery_run.case.copy, deadline_s=recovery_run.deadline_s, watch=recovery_run.listener.progress
    )
