"""Facts of instances as RDS would tell them."""

from __future__ import annotations

from datetime import UTC, datetime

from recovery.model.deletion import CreationRequest
from recovery.model.instance import TAG_CASE, TAG_MANAGED, TAG_NONCE, TAG_SOURCE, TAG_TARGET, InstanceFacts

CASE, OURS, SOURCE = "20261122-142000-7f3a", "db-COPY", "db-SOURCE"
ASKED = datetime(2026, 11, 22, 14, 20, tzinfo=UTC)

TARGET = datetime(2026, 11, 22, 14, 0, tzinfo=UTC)

CREATION = CreationRequest(nonce="a1" * 16, requested_at=ASKED, target_time=TARGET)

TAGS = {
    TAG_MANAGED: "true",
    TAG_CASE: CASE,
    TAG_SOURCE: SOURCE,
    TAG_NONCE: CREATION.nonce,
    TAG_TARGET: "2026-11-22T14:00:00Z",
}


def instance(**changes: object) -> InstanceFacts:
    facts = InstanceFacts(
        identifier=f"rowback-{CASE}",
        resource_id=OURS,
        arn="arn",
        region="eu-west-1",
        engine="postgres",
        engine_version="17.10",
        status="available",
        instance_class="db.t3.micro",
        master_username="postgres",
        endpoint=None,
        retention_days=0,
        security_group_ids=(),
        subnet_group=None,
        iam_authentication=False,
        lifecycle_support=None,
        ca_identifier=None,
        allocated_gib=20,
        created_at=ASKED,
        tags=TAGS,
    )
    return facts.model_copy(update=changes)
