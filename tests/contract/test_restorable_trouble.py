"""What RDS does with a copy that is not meant badly, and what every RestorableSource makes of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from recovery.errors import ErrorId, RowbackError
from runbooks.lab.background import pass_a_second
from tests.contract.restorable import DEADLINE_S, Restorable, place, silent, spoiled, started
from tests.fix_lab import discard, wait_until

__all__ = ["place"]


def test_a_copy_whose_answer_was_lost_is_the_copy(place: Restorable) -> None:
    """The call is repeated by the client itself, and then its own instance is in the way."""
    copy = started(place)
    again = place.start(copy)
    first = place.source.find(copy.identifier)
    assert first is not None
    assert again.resource_id == first.resource_id
    assert place.source.delete_copy(copy, deadline_s=DEADLINE_S, watch=silent) is True


def test_another_instance_of_that_name_is_no_copy(place: Restorable) -> None:
    copy = started(place)
    assert copy.creation
    other = copy.model_copy(update={"creation": copy.creation.model_copy(update={"nonce": "0" * 32})})
    with pytest.raises(RowbackError, match="DBInstanceAlreadyExists"):
        place.start(other)
    assert place.source.delete_copy(copy, deadline_s=DEADLINE_S, watch=silent) is True


def test_tags_that_are_not_seen_yet_are_waited_for(place: Restorable) -> None:
    copy = started(place)
    instance = place.live.lab.engine.instances[copy.identifier]
    wait_until(lambda: instance.status == "available", "it is there")
    instance.untagged_looks = 4
    spoiled(place, "ListTagsForResource", "AccessDenied", times=3)
    assert place.source.identify(copy, silent)[1] == []
    assert place.live.lab.engine.faults.calls[-1].times == 0, "it was asked for them"
    instance.tags, instance.ready_at = {}, datetime.now(UTC) - timedelta(hours=1)
    assert len(place.source.identify(copy, silent)[1]) == 5, "an old instance without tags is nobody's"
    instance.tags = {"rowback:managed": "true"}
    with pytest.raises(RowbackError, match="is not proven to be the copy"):
        place.source.delete_copy(copy, deadline_s=DEADLINE_S, watch=silent)
    discard(place.live.lab, lambda name: name == copy.identifier)


@pytest.mark.parametrize("code", ["InvalidDBInstanceState", "AccessDenied"])
def test_what_a_young_copy_refuses_is_asked_again(place: Restorable, code: str) -> None:
    """It is being modified still, or IAM has not seen its tags yet."""
    copy = started(place)
    place.source.wait_ready(copy.identifier, deadline_s=DEADLINE_S, watch=silent)
    spoiled(place, "ModifyDBInstance", code, times=3)
    place.source.reset_password(copy.identifier, deadline_s=DEADLINE_S, watch=silent)
    spoiled(place, "DeleteDBInstance", code, times=3)
    assert place.source.delete_copy(copy, deadline_s=DEADLINE_S, watch=silent) is True
    assert [fault.times for fault in place.live.lab.engine.faults.calls[-2:]] == [0, 0]


def test_what_is_forbidden_for_good_is_said(place: Restorable) -> None:
    copy = started(place)
    place.source.wait_ready(copy.identifier, deadline_s=DEADLINE_S, watch=silent)
    instance = place.live.lab.engine.instances[copy.identifier]
    copy = copy.model_copy(update={"resource_id": instance.resource_id})
    instance.ready_at = datetime.now(UTC) - timedelta(hours=1)
    spoiled(place, "ModifyDBInstance", "AccessDenied")
    with pytest.raises(RowbackError) as refused:
        place.source.reset_password(copy.identifier, deadline_s=DEADLINE_S, watch=silent)
    assert refused.value.id is ErrorId.IAM_MISSING
    assert place.source.delete_copy(copy, deadline_s=DEADLINE_S, watch=silent) is True


def test_a_protection_that_others_switched_on_is_taken_back(place: Restorable) -> None:
    copy = started(place)
    place.source.wait_ready(copy.identifier, deadline_s=DEADLINE_S, watch=silent)
    place.live.lab.engine.instances[copy.identifier].attributes["DeletionProtection"] = True
    seen: list[str] = []
    assert place.source.delete_copy(copy, deadline_s=DEADLINE_S, watch=lambda status, s: seen.append(status)) is True
    assert seen[0] == "taking back its deletion protection, which was switched on by others"


def test_the_original_s_certificate_that_is_not_given_any_more_is_left_out(place: Restorable) -> None:
    spoiled(place, "RestoreDBInstanceToPointInTime", "CertificateNotFound")
    copy = started(place)
    assert place.live.lab.engine.faults.calls[-1].times == 0
    assert place.source.delete_copy(copy, deadline_s=DEADLINE_S, watch=silent) is True


@pytest.mark.parametrize(
    ("code", "choice"),
    [
        ("InsufficientDBInstanceCapacity", "choose another class: copy_class in rowback.toml"),
        ("StorageTypeNotSupportedFault", 'choose another storage type: copy_storage = "gp3" in rowback.toml'),
        ("KMSKeyNotAccessibleFault", "let these credentials use the key of the backups"),
        ("InvalidVPCNetworkStateFault", "the original's subnets have no address left or were changed"),
        ("VpcEncryptionControlViolationException", "choose a class that encrypts its traffic (Nitro)"),
        ("DBParameterGroupNotFound", "name a parameter group that exists: copy_parameter_group in rowback.toml"),
    ],
)
def test_a_refused_restore_says_what_to_choose(place: Restorable, code: str, choice: str) -> None:
    moment = pass_a_second()
    place.reaches(moment)
    copy = place.copy(moment)
    spoiled(place, "RestoreDBInstanceToPointInTime", code)
    with pytest.raises(RowbackError) as refused:
        place.start(copy)
    assert refused.value.id is ErrorId.AWS_REFUSED
    assert refused.value.fact == f"RDS does not restore '{place.live.identifier}': {code.removesuffix('Fault')}"
    assert str(refused.value.help).startswith(choice)
    assert str(refused.value.help).endswith(f"then rowback close {copy.case}, and the same command again")
    assert place.source.find(copy.identifier) is None


def test_nothing_failed_where_it_only_takes_longer(place: Restorable) -> None:
    place.live.lab.engine.faults.creating_delay_s = 3
    try:
        copy = started(place)
        with pytest.raises(RowbackError) as slow:
            place.source.wait_ready(copy.identifier, deadline_s=0.6, watch=silent)
    finally:
        place.live.lab.engine.faults.creating_delay_s = 0.0
    assert slow.value.fact == f"copy '{copy.identifier}' is still 'creating' after 0 min; nothing failed"
    assert slow.value.help == f"wait on: rowback resume {copy.case}; or give it up: rowback close {copy.case}"
    assert place.source.delete_copy(copy, deadline_s=DEADLINE_S, watch=silent) is True


def test_what_other_engines_lack_is_no_error(place: Restorable) -> None:
    """Neptune's and half-made instances are described by the same call, with half of the members."""
    lab = place.live.lab
    lab.account.odd_rows.append({"DBInstanceIdentifier": "graph", "Engine": "neptune"})
    try:
        with pytest.raises(RowbackError, match="no DB instance 'grap' in") as unknown:
            place.source.get("grap")
        assert "graph" in "".join(unknown.value.facts)
        assert place.source.copies() == []
    finally:
        lab.account.odd_rows.clear()


def test_a_time_at_the_end_of_the_window_is_refused_by_rds(place: Restorable) -> None:
    """RestoreTime "must be before the latest restorable time"."""
    latest = place.source.window(place.original).latest
    instance = place.live.lab.engine.instances[place.live.identifier]
    instance.latest_restorable = latest.replace(microsecond=0)
    beat, place.live.lab.engine.beat = place.live.lab.engine.beat, lambda instance: None  # type: ignore[method-assign]
    try:
        with pytest.raises(RowbackError, match="cannot be restored to a time before"):
            place.start(place.copy(instance.latest_restorable))
    finally:
        place.live.lab.engine.beat = beat  # type: ignore[method-assign]


def test_each_attempt_to_delete_proves_anew_what_it_deletes(place: Restorable) -> None:
    """While RDS refuses it, somebody may give the name to an instance of their own."""
    copy = started(place)
    place.source.wait_ready(copy.identifier, deadline_s=DEADLINE_S, watch=silent)
    engine = place.live.lab.engine
    spoiled(place, "DeleteDBInstance", "InvalidDBInstanceState", times=2)
    instance, said = engine.instances[copy.identifier], list[str]()

    def replaced(status: str, seconds: float) -> None:
        said.append(status)
        instance.tags, instance.ready_at = {"Owner": "a person"}, datetime.now(UTC) - timedelta(hours=1)

    with pytest.raises(RowbackError, match="is not proven to be the copy") as refused:
        place.source.delete_copy(copy, deadline_s=DEADLINE_S, watch=replaced)
    assert refused.value.id is ErrorId.DELETE_REFUSED
    assert said == ["RDS answers InvalidDBInstanceState, asking again"]
    assert instance.status == "available"
    engine.faults.calls.clear()
    discard(place.live.lab, lambda name: name == copy.identifier)


def test_a_copy_that_is_final_is_not_asked_again(place: Restorable) -> None:
    copy = started(place)
    place.source.wait_ready(copy.identifier, deadline_s=DEADLINE_S, watch=silent)
    instance = place.live.lab.engine.instances[copy.identifier]
    instance.settling, instance.status = [], "inaccessible-encryption-credentials"
    with pytest.raises(RowbackError, match="InvalidDBInstanceState"):
        place.source.reset_password(copy.identifier, deadline_s=DEADLINE_S, watch=silent)
    instance.status = "available"
    assert place.source.delete_copy(copy, deadline_s=DEADLINE_S, watch=silent) is True
