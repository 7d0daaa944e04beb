"""Whose policy is printed, also by those who may not see the instance yet."""

from __future__ import annotations

from recovery.aws.caller_identity import caller
from recovery.aws.describe_protection import Protections
from recovery.aws.instances import Instances
from recovery.aws.permissions import Place
from recovery.errors import ErrorId, RowbackError


def place_of(instance: str, region: str | None) -> tuple[Place, str]:
    """Where the instance is, and why it could not be looked at, if so: then its key is not part of the policy.

    Raises instance-unknown when AWS says that there is none, and what AWS answers otherwise.
    """
    instances = Instances.connect(region)
    try:
        facts, protections = instances.get(instance), Protections.connect(instances.region)
        place = Place.of(
            facts,
            kms_key=protections.customer_key(facts.kms_key),
            backup=protections.backup_arn(facts),
            secret_key=protections.customer_key(facts.master_secret_key),
        )
        return place, ""
    except RowbackError as error:
        if error.id is not ErrorId.IAM_MISSING:
            raise
        _, partition, _, _, account, _ = caller(region).split(":", 5)
        return Place(partition, instances.region, account, instance), error.fact
