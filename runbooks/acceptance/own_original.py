"""The instance that an acceptance run makes for itself, with a parameter group of its own."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from botocore.exceptions import ClientError

from recovery.aws.clients import EXISTS, code_of, translated, was_refused
from recovery.aws.instance_rows import facts_of, tag_list
from recovery.aws.instances import Instances
from recovery.aws.restore_call import tags_for
from recovery.config import LibpqCredentials, Profile
from recovery.errors import RowbackError
from recovery.model.deletion import Copy, CreationRequest
from recovery.model.instance import CopySettings, InstanceFacts
from recovery.redaction import remember
from recovery.store.rehearsal_journal import RehearsalJournal
from recovery.workflow.recovery_run import Listener
from runbooks.acceptance.acceptance_request import (
    HOURS_AT_MOST,
    MASTER,
    ORIGINAL_CASE,
    PARAMETER_GROUP,
    STORAGE_GIB,
    STORAGE_KIND,
    AcceptanceRequest,
)

READY_WITHIN_S = 3600.0
NO_SOURCE = "none"


@dataclass(frozen=True)
class Original:
    """What is lost from and restored. `profile`: how it is reached; `password`: None where the profile has it."""

    facts: InstanceFacts
    profile: Profile
    password: str | None


def recorded_original() -> Copy:
    """The record by which it will be proven to be ours: it is restored from nothing."""
    now = datetime.now(UTC).replace(microsecond=0)
    creation = CreationRequest(nonce=secrets.token_hex(16), requested_at=now, target_time=now)
    return Copy(case=ORIGINAL_CASE, source_resource_id=NO_SOURCE, creation=creation)


def make_original(
    instances: Instances, request: AcceptanceRequest, database: str, journal: RehearsalJournal, listener: Listener
) -> Original:
    """Create it in the group that is there by now, and wait until it is available.

    Raises what AWS's refusal stands for, and instance-unsuitable where it does not come up in time.
    """
    password, copy = secrets.token_urlsafe(24), recorded_original()
    remember(password)
    journal.requested(copy)
    try:
        facts = _create(instances, request, copy, {"MasterUserPassword": password, "DBName": database})
    except RowbackError as error:
        if was_refused(error):
            journal.gone(copy)
        raise
    journal.created(copy, facts.resource_id)
    facts = instances.wait_available(copy.identifier, deadline_s=READY_WITHIN_S, watch=listener.progress)
    return Original(
        facts, undisturbed(request.profile).model_copy(update={"credentials": LibpqCredentials(user=MASTER)}), password
    )


def undisturbed(profile: Profile) -> Profile:
    """Without what belongs to real incidents: approvals, references to other databases, people to notify."""
    return profile.model_copy(update={"approvals_needed": 0, "references": (), "notify": ()})


def _create(instances: Instances, request: AcceptanceRequest, copy: Copy, login: dict[str, object]) -> InstanceFacts:
    ground = request.ground
    optional: dict[str, object] = {
        "DBSubnetGroupName": ground.subnet_group,
        "VpcSecurityGroupIds": list(ground.security_groups),
    }
    settings = CopySettings(
        instance_class=ground.instance_class,
        subnet_group=ground.subnet_group,
        security_group_ids=ground.security_groups,
        iam_authentication=False,
        lifecycle_support=None,
        ca_identifier=None,
        expires_after_hours=HOURS_AT_MOST,
        tags=request.profile.copy_tags,
    )
    wanted: dict[str, object] = {
        "DBInstanceIdentifier": copy.identifier,
        "Engine": "postgres",
        "DBInstanceClass": ground.instance_class,
        "AllocatedStorage": STORAGE_GIB,
        "StorageType": STORAGE_KIND,
        "StorageEncrypted": True,
        "MasterUsername": MASTER,
        "DBParameterGroupName": PARAMETER_GROUP,
        "BackupRetentionPeriod": 1,
        "PubliclyAccessible": False,
        "MultiAZ": False,
        "AutoMinorVersionUpgrade": False,
        "CopyTagsToSnapshot": False,
        "DeletionProtection": False,
        "EnableIAMDatabaseAuthentication": False,
        "Tags": tag_list(tags_for(copy, None, settings)),
        **login,
        **{name: value for name, value in optional.items() if value},
    }
    return _created(instances, copy, wanted)


def _created(instances: Instances, copy: Copy, wanted: dict[str, object]) -> InstanceFacts:
    """Made by this call or by an earlier attempt of it, whose answer was lost."""
    with translated(f"rds:CreateDBInstance '{copy.identifier}'", unanswered="an instance may have been created"):
        try:
            answer = instances.rds.create_db_instance(**wanted)
        except ClientError as error:
            if code_of(error) == EXISTS and (ours := instances.made_before(copy)):
                return ours
            raise
        return facts_of(answer["DBInstance"], instances.region)  # an answer that shows no instance is none
