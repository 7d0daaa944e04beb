"""The copy is made inert, and proven to be a copy and not the original, before anyone uses it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from guards.server_identity import identify, same_server
from recovery.errors import RowbackError
from recovery.postgres.connect import connect, identity_of
from recovery.postgres.quarantine import make_inert, prove_copy
from runbooks.lab.background import pass_a_second
from tests.fix_lab import Database, Live, end_instance, rds_client, start_instance, wait_until


@pytest.fixture(scope="module")
def copy(live: Live) -> Iterator[Live]:
    """A real point-in-time copy of this module's instance, with a subscription and a job table in it."""
    with psycopg.connect(live.lab.engine.instances[live.identifier].cluster.dsn(), autocommit=True) as admin:
        admin.execute(
            "create subscription steals connection 'host=192.0.2.1 dbname=x' publication p"
            " with (connect = false, slot_name = 'theirs')"
        )
        admin.execute("alter subscription steals enable")
        admin.execute("alter subscription steals owner to rdsadmin")
    target = pass_a_second()
    client = rds_client(live.lab)

    def reached() -> bool:
        row = client.describe_db_instances(DBInstanceIdentifier=live.identifier)["DBInstances"][0]
        return bool(row["LatestRestorableTime"] > target)

    wait_until(reached, "the window reaches T")
    client.restore_db_instance_to_point_in_time(
        SourceDBInstanceIdentifier=live.identifier,
        TargetDBInstanceIdentifier="twin",
        RestoreTime=target,
        BackupRetentionPeriod=0,
    )
    live.lab.wait_for("twin", "available")
    yield Live(live.lab, "twin", live.password)
    end_instance(live.lab, "twin")  # other modules of this process count instances


def subscriptions(live: Live) -> list[Any]:
    with psycopg.connect(live.lab.engine.instances[live.identifier].cluster.dsn()) as admin:
        return admin.execute("select subname, subenabled from pg_subscription").fetchall()


def test_a_subscription_is_disabled_and_sessions_start_read_only(copy: Live, live: Live) -> None:
    with psycopg.connect(copy.lab.engine.instances["twin"].cluster.dsn(), autocommit=True) as admin:
        admin.execute("alter subscription steals owner to postgres") if admin.info.server_version < 160000 else None
        admin.execute("grant rdsadmin to postgres")  # RDS lets its master own subscriptions; plain PostgreSQL does not
    assert subscriptions(copy) == [("steals", True)]
    stopped = make_inert(copy.target())
    assert stopped["subscriptions_disabled"] == 1
    assert subscriptions(copy) == [("steals", False)]
    assert subscriptions(live) == [("steals", True)], "the original's own subscription is nobody's business"
    assert make_inert(copy.target())["subscriptions_disabled"] == 0, "once more, as after a crash"
    with copy.connect() as session, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        session.execute("create table t (n int)")


def test_the_copy_is_told_from_the_original(copy: Live, live: Live, database: Database) -> None:
    with connect(live.target()) as original, connect(copy.target()) as twin:
        expected = identity_of(original)
        assert not same_server(original, twin)
        assert prove_copy(original, twin, expected).system_identifier == expected.system_identifier
        assert identify(original).started_at != identify(twin).started_at
        with connect(database.target()) as again, pytest.raises(RowbackError) as same:
            prove_copy(original, again, expected)
    assert same.value.exit_code == 28
    assert same.value.fact == "the copy's address leads to the original itself"


def test_another_cluster_is_no_copy(live: Live) -> None:
    stranger = start_instance(live.lab)
    with connect(live.target()) as original, connect(stranger.target()) as other:
        expected = identity_of(original)
        with pytest.raises(RowbackError) as refused:
            prove_copy(original, other, expected)
    assert refused.value.fact.startswith("what was restored is no copy of the original: system identifier ")
