"""rowback deletes an instance only if its name, its tags and what the journal recorded of its creation all agree."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest

from recovery.model.deletion import CLOCK_TOLERANCE, Copy, objections_to_delete
from recovery.model.instance import TAG_CASE, TAG_MANAGED, TAG_NONCE, TAG_SOURCE, TAG_TARGET, InstanceFacts
from tests.fix_instances import ASKED, CASE, CREATION, OURS, SOURCE, TAGS, instance


def recorded(**changes: object) -> Copy:
    return Copy(case=CASE, source_resource_id=SOURCE, resource_id=OURS, creation=CREATION).model_copy(update=changes)


def objections(found: InstanceFacts, copy: Copy | None = None) -> list[str]:
    return objections_to_delete(found, copy or recorded())


def test_our_own_copy_may_be_deleted() -> None:
    assert objections(instance()) == []
    assert objections(instance(tags={TAG_MANAGED: "true", TAG_CASE: CASE, TAG_SOURCE: SOURCE})) == [], (
        "its resource id was recorded: nothing else has to prove it"
    )


WRONG = {
    "name": ({"identifier": "rowback-20261122-142000-0000"}, f"its name is not 'rowback-{CASE}'"),
    "tags": ({TAG_CASE: "other"}, f"its tags do not say that it belongs to case {CASE}"),
    "source": ({TAG_SOURCE: "db-ELSE"}, "its tags do not name db-SOURCE as its source"),
    "id": ({"resource_id": "db-OTHER"}, "its resource id is db-OTHER, not the recorded db-COPY"),
}


@pytest.mark.parametrize("which", [c for n in (1, 2, 3, 4) for c in itertools.combinations(WRONG, n)])
def test_anything_that_disagrees_is_an_objection(which: tuple[str, ...]) -> None:
    wrong = {key: value for name in which for key, value in WRONG[name][0].items()}
    changes: dict[str, object] = {key: value for key, value in wrong.items() if ":" not in key}
    tags = TAGS | {key: value for key, value in wrong.items() if ":" in key}
    assert objections(instance(**changes, tags=tags)) == [WRONG[name][1] for name in which]


def test_missing_tags_missing_record_and_the_source_itself() -> None:
    assert objections(instance(tags={})) == [WRONG["tags"][1], WRONG["source"][1]]
    assert objections(instance(), recorded(resource_id=None, creation=None)) == ["no create call was recorded"]
    assert objections(instance(resource_id=SOURCE), recorded(resource_id=SOURCE)) == ["it is the source instance"]


UNCONFIRMED: dict[str, tuple[dict[str, object], str]] = {
    "nonce": ({TAG_NONCE: "b2" * 16}, "it does not carry the nonce that was recorded before the create call"),
    "target": (
        {TAG_TARGET: "2026-11-22T13:59:59Z"},
        "its tags do not say that it was restored to 2026-11-22T14:00:00Z",
    ),
    "created": (
        {"created_at": ASKED - CLOCK_TOLERANCE - timedelta(seconds=1)},
        "it was created at 2026-11-22T14:14:59Z, before it was asked for at 2026-11-22T14:20:00Z",
    ),
}


@pytest.mark.parametrize("which", [c for n in (1, 2, 3) for c in itertools.combinations(UNCONFIRMED, n)])
def test_a_call_nobody_saw_answered_is_proven_by_more_than_name_and_tags(which: tuple[str, ...]) -> None:
    """An instance of our name with the two well-known tags made in the moment between intent and call was deleted."""
    unconfirmed = recorded(resource_id=None)
    assert objections(instance(), unconfirmed) == []
    assert objections(instance(created_at=None), unconfirmed) == [], "RDS shows no creation time while it creates"
    wrong = {key: value for name in which for key, value in UNCONFIRMED[name][0].items()}
    changes = {key: value for key, value in wrong.items() if ":" not in key}
    tags = TAGS | {key: value for key, value in wrong.items() if ":" in key}
    assert objections(instance(**changes, tags=tags), unconfirmed) == [UNCONFIRMED[name][1] for name in which]
