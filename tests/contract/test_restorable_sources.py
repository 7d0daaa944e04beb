"""What every RestorableSource keeps, judged by boto3's client and by rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from recovery.errors import ErrorId, RowbackError
from recovery.model.target import format_utc
from runbooks.lab.background import pass_a_second
from runbooks.lab.lab_server import REGION
from runbooks.lab.lab_state import CallFault
from tests.contract.restorable import DEADLINE_S, Restorable, connected, logged_in, place, silent
from tests.fix_lab import rds_client

__all__ = ["place"]


def test_an_original_that_is_not_there_is_refused_with_the_nearest_names(place: Restorable) -> None:
    wrong = f"{place.live.identifier}x"
    with pytest.raises(RowbackError) as refused:
        place.source.get(wrong)
    assert refused.value.id is ErrorId.INSTANCE_UNKNOWN
    assert place.live.identifier in " ".join(refused.value.facts)
    assert place.source.find(wrong) is None
    assert place.source.region == REGION


def test_a_copy_holds_the_rows_as_of_its_time_and_says_whose_it_is(place: Restorable) -> None:
    """From its start to its end: rows, network, tags, a password that only we know, and the copy alone is deleted."""
    with place.live.connect() as session:
        session.execute("create table rows_at_t (n int)")
        session.execute("insert into rows_at_t select generate_series(1, 7)")
        moment = pass_a_second()
        session.execute("truncate rows_at_t")
    place.reaches(moment)
    copy = place.copy(moment)
    assert copy.creation
    started = place.start(copy)
    assert (started.identifier, place.source.copies()[-1].identifier) == (copy.identifier, copy.identifier)
    statuses: list[str] = []
    ready = place.source.wait_ready(
        copy.identifier, deadline_s=DEADLINE_S, watch=lambda status, seconds: statuses.append(status)
    )
    assert ready.resource_id == started.resource_id != place.original.resource_id
    assert {"modifying", "available", "rebooting", "storage-initialization"} <= set(statuses), "it settles first"
    assert statuses[-1].startswith("available, ")
    assert statuses[-1].endswith(" % of its storage loaded")
    assert ready.publicly_accessible is False
    assert ready.security_group_ids == place.original.security_group_ids
    assert ready.retention_days == 0
    tags = dict(ready.tags)
    expires = datetime.fromisoformat(tags.pop("rowback:expires"))
    assert timedelta(hours=2.9) < expires - datetime.now(UTC) <= timedelta(hours=3)
    assert tags == {
        "rowback:managed": "true",
        "rowback:case": copy.case,
        "rowback:source": place.original.resource_id,
        "rowback:nonce": copy.creation.nonce,
        "rowback:target": format_utc(moment),
        "rowback:database": b"post gres".hex(),
    }
    password = place.source.reset_password(copy.identifier, deadline_s=DEADLINE_S, watch=silent)
    with logged_in(ready, password) as session:
        assert session.execute("select count(*) from rows_at_t").fetchone() == (7,)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connected(ready, place.live.password)
    with place.live.connect() as session:
        assert session.execute("select count(*) from rows_at_t").fetchone() == (0,)
    assert place.source.delete_copy(copy, deadline_s=DEADLINE_S, watch=silent) is True
    assert place.source.find(copy.identifier) is None
    assert place.source.delete_copy(copy, deadline_s=DEADLINE_S, watch=silent) is False
    assert place.original.status == "available"


def test_the_window_holds_what_was_written_a_while_ago(place: Restorable) -> None:
    moment = pass_a_second()
    place.reaches(moment)
    window = place.source.window(place.original)
    assert window.earliest < moment <= window.latest <= datetime.now(UTC)


def test_a_source_without_backups_is_refused(place: Restorable) -> None:
    with pytest.raises(RowbackError) as refused:
        place.source.window(place.original.model_copy(update={"retention_days": 0}))
    assert refused.value.id is ErrorId.BACKUPS_OFF
    assert refused.value.fact == f"'{place.live.identifier}' has no automated backups to restore from"


def test_only_a_copy_gets_another_password(place: Restorable) -> None:
    with pytest.raises(ValueError, match="is not a copy"):
        place.source.reset_password(place.live.identifier, deadline_s=DEADLINE_S, watch=silent)
    with place.live.connect() as session:
        assert session.execute("select 1").fetchone() == (1,)


@pytest.mark.parametrize("other", ["nonce", "resource", "source"])
def test_what_is_not_proven_to_be_the_copy_is_not_deleted(place: Restorable, other: str) -> None:
    moment = pass_a_second()
    place.reaches(moment)
    copy = place.copy(moment)
    place.start(copy)
    place.source.wait_ready(copy.identifier, deadline_s=DEADLINE_S, watch=silent)
    assert copy.creation
    claims = {
        "nonce": copy.model_copy(update={"creation": copy.creation.model_copy(update={"nonce": "0" * 32})}),
        "resource": copy.model_copy(update={"resource_id": place.original.resource_id}),
        "source": copy.model_copy(update={"source_resource_id": "db-ANOTHER"}),
    }
    with pytest.raises(RowbackError) as refused:
        place.source.delete_copy(claims[other], deadline_s=DEADLINE_S, watch=silent)
    assert refused.value.id is ErrorId.DELETE_REFUSED
    assert rds_client(place.live.lab).describe_db_instances(DBInstanceIdentifier=copy.identifier)["DBInstances"]
    assert place.source.delete_copy(copy, deadline_s=DEADLINE_S, watch=silent) is True


def test_a_copy_that_ends_badly_is_said_at_once(place: Restorable) -> None:
    moment = pass_a_second()
    place.reaches(moment)
    copy = place.copy(moment)
    place.live.lab.engine.faults.next_restores.append("incompatible-restore")
    place.start(copy)
    with pytest.raises(RowbackError) as refused:
        place.source.wait_ready(copy.identifier, deadline_s=DEADLINE_S, watch=silent)
    assert refused.value.id is ErrorId.COPY_FAILED
    assert "is 'incompatible-restore', which is final" in refused.value.fact
    assert place.source.delete_copy(copy, deadline_s=DEADLINE_S, watch=silent) is True


def test_throttling_ends_no_wait(place: Restorable) -> None:
    moment = pass_a_second()
    place.reaches(moment)
    copy = place.copy(moment)
    place.start(copy)
    fault = CallFault("DescribeDBInstances", "ThrottlingException", http_status=400, times=3)
    place.live.lab.engine.faults.calls.append(fault)
    place.source.wait_ready(copy.identifier, deadline_s=DEADLINE_S, watch=silent)
    assert place.source.delete_copy(copy, deadline_s=DEADLINE_S, watch=silent) is True
