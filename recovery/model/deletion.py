"""Whether an instance is the copy of a case, and may therefore be deleted: a pure decision.

It is asked about the very instance that would be deleted, with nothing but what that instance shows and what the
case's journal holds. Names and tags can be copied by anybody, so they never suffice: either the resource id was
recorded when RDS answered the create call, or, where that answer was lost, the instance carries the random nonce that
was journalled before the call, the same source and target time, and was not created before that.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from recovery.model.instance import (
    COPY_PREFIX,
    TAG_CASE,
    TAG_MANAGED,
    TAG_NONCE,
    TAG_SOURCE,
    TAG_TARGET,
    InstanceFacts,
)
from recovery.model.target import format_utc
from recovery.model.values import Moment, Value

# AWS refuses signed calls of a clock that is further off (SigV4), so no call of ours was made with a later one.
CLOCK_TOLERANCE = timedelta(minutes=5)
APPEARS = timedelta(minutes=15)  # RDS shows new instances within minutes


class CreationRequest(Value):
    """A create call as it was journalled before it was made. `nonce`: 128 random bits as hex, a tag of the instance.

    `requested_at`: this machine's clock before the first such call of the case.
    """

    nonce: str
    requested_at: Moment
    target_time: Moment


class Copy(Value):
    """The copy of a case (or of a drill), as far as its own records prove it.

    `resource_id`: as RDS answered the create call, None while no answer was received. `creation`: that call, None
    before it was journalled.
    """

    case: str
    source_resource_id: str
    resource_id: str | None = None
    creation: CreationRequest | None = None

    @property
    def identifier(self) -> str:
        """The instance's name, which derives from the case id."""
        return f"{COPY_PREFIX}{self.case}"

    def may_still_appear(self, now: datetime) -> bool:
        """Whether a call whose answer was lost may have made it although RDS does not show it yet."""
        return self.resource_id is None and self.creation is not None and now - self.creation.requested_at < APPEARS


def objections_to_delete(instance: InstanceFacts, copy: Copy) -> list[str]:
    """Why rowback must not delete `instance` as the copy that `copy` describes; empty when everything agrees."""
    objections = []
    if instance.identifier != copy.identifier:
        objections.append(f"its name is not '{copy.identifier}'")
    if instance.tags.get(TAG_MANAGED) != "true" or instance.tags.get(TAG_CASE) != copy.case:
        objections.append(f"its tags do not say that it belongs to case {copy.case}")
    if instance.tags.get(TAG_SOURCE) != copy.source_resource_id:
        objections.append(f"its tags do not name {copy.source_resource_id} as its source")
    if copy.resource_id is None:
        objections += _objections_to_unconfirmed(instance, copy.creation)
    elif instance.resource_id != copy.resource_id:
        objections.append(f"its resource id is {instance.resource_id}, not the recorded {copy.resource_id}")
    if instance.resource_id == copy.source_resource_id:
        objections.append("it is the source instance")
    return objections


def _objections_to_unconfirmed(instance: InstanceFacts, creation: CreationRequest | None) -> list[str]:
    if creation is None:
        return ["no create call was recorded"]
    objections = []
    if instance.tags.get(TAG_NONCE) != creation.nonce:
        objections.append("it does not carry the nonce that was recorded before the create call")
    if instance.tags.get(TAG_TARGET) != format_utc(creation.target_time):
        objections.append(f"its tags do not say that it was restored to {format_utc(creation.target_time)}")
    if instance.created_at is not None and instance.created_at < creation.requested_at - CLOCK_TOLERANCE:
        objections.append(
            f"it was created at {format_utc(instance.created_at)}, before it was asked for at"
            f" {format_utc(creation.requested_at)}"
        )
    return objections
