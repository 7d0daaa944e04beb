"""rowback deletes an instance only if prefix, tags, recorded resource id and "not the source" all agree."""

from __future__ import annotations

import itertools

import pytest

from recovery.model.instance import TAG_CASE, TAG_MANAGED, InstanceFacts, objections_to_delete

CASE, OURS, SOURCE = "20261122-142000-7f3a", "db-COPY", "db-SOURCE"


def instance(**changes: object) -> InstanceFacts:
    facts = InstanceFacts(
        identifier=f"rowback-{CASE}", resource_id=OURS, arn="arn", region="eu-west-1", engine="postgres",
        engine_version="17.10", status="available", instance_class="db.t3.micro", master_username="postgres",
        endpoint=None, retention_days=0, security_group_ids=(), subnet_group=None, iam_authentication=False,
        lifecycle_support=None, ca_identifier=None, allocated_gib=20, tags={TAG_MANAGED: "true", TAG_CASE: CASE},
    )  # fmt: skip
    return facts.model_copy(update=changes)


def objections(found: InstanceFacts, recorded: str | None = OURS) -> list[str]:
    return objections_to_delete(found, case=CASE, recorded_resource_id=recorded, source_resource_id=SOURCE)


def test_our_own_copy_may_be_deleted() -> None:
    assert objections(instance()) == []


WRONG = {
    "name": ({"identifier": "orders-prod"}, "its name does not start with 'rowback-'"),
    "tags": ({"tags": {TAG_MANAGED: "true", TAG_CASE: "other"}}, f"its tags do not say that it belongs to case {CASE}"),
    "id": ({"resource_id": "db-OTHER"}, "its resource id is db-OTHER, not the recorded db-COPY"),
}


@pytest.mark.parametrize("which", [c for n in (1, 2, 3) for c in itertools.combinations(WRONG, n)])
def test_anything_that_disagrees_is_an_objection(which: tuple[str, ...]) -> None:
    changes = {key: value for name in which for key, value in WRONG[name][0].items()}
    assert objections(instance(**changes)) == [WRONG[name][1] for name in which]


def test_missing_tags_missing_record_and_the_source_itself() -> None:
    assert objections(instance(tags={})) == [f"its tags do not say that it belongs to case {CASE}"]
    assert objections(instance(), recorded=None) == ["no resource id was recorded when it was created"]
    assert objections(instance(resource_id=SOURCE), recorded=SOURCE) == ["it is the source instance"]
