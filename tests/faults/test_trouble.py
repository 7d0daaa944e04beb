"""Trouble on the way: RDS fails the restore, throttles, loses WAL; disks fill; copies are orphaned."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from recovery.errors import EXIT_CODES, ErrorId
from recovery.model.instance import TAG_CASE, TAG_EXPIRES
from recovery.model.target import format_utc
from recovery.store.journal import read_records
from recovery.workflow.steps.row_steps import Extract
from runbooks.lab.background import pass_a_second
from runbooks.lab.lab_state import CallFault
from tests.fix_cli import Cli, Ran, restoring
from tests.fix_lab import Database, Live, rds_client, wait_until


@pytest.fixture
def target(database: Database) -> datetime:
    database.run("create table t (n int)", "insert into t select generate_series(1, 1000)")
    moment = pass_a_second()
    database.run("truncate t")
    return moment


def restore(cli: Cli, database: Database, target: datetime, **environment: str) -> Ran:
    return cli(*restoring(cli, database, target), **environment)


def the_case(cli: Cli) -> str:
    return str(json.loads(cli("cases", "--json").out)[0]["case"])


def nonce_at(cli: Cli, case: str) -> int:
    """The record that was written before the instance was asked for."""
    records = read_records(cli.home / "cases" / case)
    (record,) = [r for r in records if (r.event, r.step) == ("step.start", "start-copy")]
    return record.seq


@pytest.mark.parametrize(
    ("status", "way_out"),
    [
        ("incompatible-restore", ""),
        ("insufficient-capacity", "  another class may be had: copy_class in rowback.toml\n"),
        (
            "storage-full",
            "  give it more storage: aws rds modify-db-instance --db-instance-identifier rowback-{case}"
            " --allocated-storage GIB\n",
        ),
        ("restore-error", ""),
        (
            "inaccessible-encryption-credentials-recoverable",
            "  enable its KMS key (aws kms enable-key): RDS then goes on\n",
        ),
    ],
)
def test_a_restore_that_ends_badly_is_told_at_once_and_can_be_closed(
    cli: Cli, database: Database, target: datetime, status: str, way_out: str
) -> None:
    cli.live.lab.engine.faults.next_restores.append(status)
    ran = restore(cli, database, target)
    case = the_case(cli)
    assert ran.code == 50
    assert ran.err.endswith(
        f"error[copy-failed]: copy 'rowback-{case}' is '{status}', which is final\n{way_out.format(case=case)}"
        "  RDS's reason: aws rds describe-events --source-type db-instance --duration 1440 --source-identifier"
        f" rowback-{case}\n"
        f"  case {case} is paused at step 'await-copy'\n"
        f"  copy 'rowback-{case}' may still be running and costs money\n"
        "  nothing was written to the original; the copy still exists\n"
        f"  help: remove it: rowback close {case}; or, if RDS recovers it: rowback resume {case}\n"
    )
    assert cli("close", case).code == 0
    assert f"rowback-{case}" not in cli.live.lab.engine.instances
    assert database.rows("select count(*) from t") == [(0,)]


def test_a_hole_in_the_wal_archive(cli: Cli) -> None:
    lab = cli.live.lab
    password = lab.create_instance("holed")
    holed = Live(lab, "holed", password)
    with holed.connect() as master:
        master.execute("create table t as select g, repeat('x', 500) from generate_series(1, 20000) g")
        target = pass_a_second()
        master.execute("truncate t")
    wait_until(
        lambda: (
            rds_client(lab).describe_db_instances(DBInstanceIdentifier="holed")["DBInstances"][0][
                "LatestRestorableTime"
            ]
            >= target
        ),
        "the window reaches T",
    )
    lab.engine.lose_wal("holed")
    ran = cli(
        "restore",
        "holed",
        "--at",
        format_utc(target),
        "--database",
        "postgres",
        "--confirm",
        "postgres",
        PGPASSWORD=password,
    )
    assert ran.code == 50
    assert "is 'incompatible-restore', which is final" in ran.err
    assert cli("close", the_case(cli)).code == 0


def test_throttling_and_server_errors_on_the_way_are_survived(cli: Cli, database: Database, target: datetime) -> None:
    calls = cli.live.lab.engine.faults.calls
    ours = [
        CallFault("RestoreDBInstanceToPointInTime", "Throttling", times=2),
        CallFault("ModifyDBInstance", "InternalFailure", http_status=500, times=1),
        CallFault("DeleteDBInstance", "Throttling", times=1),
    ]
    calls += ours  # the lab is shared: spent faults of other tests may still be in the list
    ran = restore(cli, database, target)
    assert ran.code == 0, ran.err
    assert [fault.times for fault in ours] == [0, 0, 0]
    calls.clear()
    assert database.rows("select count(*) from t") == [(1000,)]


def test_a_missing_permission_stops_before_anything_exists_and_resume_goes_on_with_it(
    cli: Cli, database: Database, target: datetime
) -> None:
    calls = cli.live.lab.engine.faults.calls
    calls.append(CallFault("RestoreDBInstanceToPointInTime", "AccessDenied", "not authorized", 403))
    ran = restore(cli, database, target)
    calls.clear()
    case = the_case(cli)
    assert ran.code == 34
    assert "may not call rds:RestoreDBInstanceToPointInTime" in ran.err
    assert "no copy was created, nothing was written" in ran.err
    assert cli("resume", case).code == 0
    assert database.rows("select count(*) from t") == [(1000,)]


def test_credentials_that_expire_half_way(cli: Cli, database: Database, target: datetime) -> None:
    calls = cli.live.lab.engine.faults.calls
    calls.append(CallFault("ModifyDBInstance", "ExpiredToken", "expired", 403))
    ran = restore(cli, database, target)
    calls.clear()
    case = the_case(cli)
    assert ran.code == 33
    assert (
        f"help: log in again (aws sso login), then run the same command again; then: rowback resume {case}" in ran.err
    )
    assert cli("resume", case).code == 0
    assert database.rows("select count(*) from t") == [(1000,)]


def test_a_disk_too_small_for_the_dump(
    cli: Cli, database: Database, target: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recovery.workflow.steps.row_steps.FREE_BYTES_KEPT", 1 << 60)
    ran = restore(cli, database, target)
    case = the_case(cli)
    assert ran.code == 38
    assert "error[disk-full]: the dump may take 0 MiB, " in ran.err
    assert " MiB are kept free beside it, and " in ran.err
    assert f"case {case} is paused at step '{Extract.name}'" in ran.err
    monkeypatch.undo()
    assert cli("resume", case).code == 0


def test_the_copy_is_inert_and_named_and_tagged(cli: Cli, database: Database, target: datetime) -> None:
    """Stop in front of the load and look at what the copy is."""
    with database.connect() as blocker:
        blocker.execute("create table if not exists u (n int)")
        blocker.execute(
            "alter table t alter n type timestamptz using now()"
        )  # drift: the run stops after the copy is up
        ran = restore(cli, database, target)
    assert ran.code == 25
    case = the_case(cli)
    copy = cli.live.lab.engine.instances[f"rowback-{case}"]
    source = cli.live.lab.engine.instances[cli.live.identifier]
    assert {
        name: copy.attributes[name]
        for name in ("PubliclyAccessible", "DeletionProtection", "MultiAZ", "AutoMinorVersionUpgrade")
    } == dict.fromkeys(("PubliclyAccessible", "DeletionProtection", "MultiAZ", "AutoMinorVersionUpgrade"), False)
    assert copy.retention_days == 0
    assert copy.attributes["SecurityGroups"] == source.attributes["SecurityGroups"]
    assert copy.parameters is cli.live.lab.engine.default_parameters
    expires = datetime.fromisoformat(copy.tags.pop(TAG_EXPIRES).replace("Z", "+00:00"))
    assert timedelta(hours=23) < expires - datetime.now(UTC) < timedelta(hours=25)
    assert copy.tags == {
        "rowback:managed": "true",
        TAG_CASE: case,
        "rowback:source": source.resource_id,
        "rowback:database": database.name.encode().hex(),
        "rowback:target": format_utc(target),
        "rowback:nonce": read_records(cli.home / "cases" / case)[nonce_at(cli, case)].data["nonce"],
    }
    with pytest.raises(Exception, match="password authentication failed"):
        Live(cli.live.lab, copy.identifier, cli.live.password).connect()
    import psycopg

    with psycopg.connect(copy.cluster.dsn(database.name)) as inside:
        row = inside.execute("select rolconfig from pg_roles where rolname = 'postgres'").fetchone()
    assert row == (["default_transaction_read_only=on"],)
    copy.tags[TAG_EXPIRES] = format_utc(expires)
    assert cli("close", case).code == 0


def test_reap_removes_copies_of_dead_cases_and_nothing_else(cli: Cli, database: Database, target: datetime) -> None:
    lab = cli.live.lab
    lab.create_instance("rowback-impostor", BackupRetentionPeriod=0)
    database.run("alter table t alter n type timestamptz using now()")
    assert restore(cli, database, target).code == 25
    case = the_case(cli)
    copy = lab.engine.instances[f"rowback-{case}"]
    expires = copy.tags[TAG_EXPIRES]
    paused = (
        f"rowback-{case}: kept: case {case} is paused until {expires}: rowback resume {case}, or rowback close {case}"
    )
    impostor = (
        "rowback-impostor: kept: case 'impostor' has no journal on this machine, so its resource id cannot be proven"
    )
    assert sorted(cli("reap").out.splitlines()) == sorted([paused, impostor])
    copy.tags[TAG_EXPIRES] = "2020-01-01T00:00:00Z"
    assert sorted(cli("reap", "--dry-run").out.splitlines()) == sorted([f"rowback-{case}: would be removed", impostor])
    # somebody else's instance that carries the tags of a dead case: its resource id was never recorded
    fake = lab.engine.instances["rowback-impostor"]
    fake.tags = {**copy.tags}
    told = dict(line.split(": ", 1) for line in cli("reap").out.splitlines())
    assert told[f"rowback-{case}"] == "removed"
    assert "rowback-impostor" in lab.engine.instances
    assert f"rowback-{case}" not in lab.engine.instances
    assert cli.live.identifier in lab.engine.instances
    lab.engine.delete(fake, keep_backups=False)
    wait_until(lambda: "rowback-impostor" not in lab.engine.instances, "the impostor is gone")


WITHOUT_ROOT = [
    "setpriv",
    "--bounding-set=-dac_override,-dac_read_search",
    "--inh-caps=-dac_override,-dac_read_search",
]


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root may do everything here")
def test_a_state_directory_of_somebody_else_is_told_and_no_bug(tmp_path: Path) -> None:
    """Made under sudo, say. What root may do beyond others is taken from it here."""
    locked = tmp_path / "cases"
    locked.mkdir(mode=0)
    command = [sys.executable, "-m", "recovery.cli", "cases"]
    ran = subprocess.run(
        [*(WITHOUT_ROOT if os.geteuid() == 0 else []), *command],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "ROWBACK_HOME": str(tmp_path)},
    )
    assert (ran.returncode, ran.stderr) == (
        EXIT_CODES[ErrorId.CONFIG_INVALID],
        f"error[config-invalid]: {locked} may not be used by this user: Permission denied\n"
        "  what was done so far stays done\n"
        "  help: run rowback as the user who made it, or set ROWBACK_HOME to a directory of your own\n",
    )


@pytest.mark.parametrize("where", ["tags", "case tag", "resource id"])
def test_a_copy_that_is_not_provably_ours_is_never_deleted(
    cli: Cli, database: Database, target: datetime, where: str
) -> None:
    database.run("alter table t alter n type timestamptz using now()")
    assert restore(cli, database, target).code == 25
    case = the_case(cli)
    instances: dict[str, Any] = cli.live.lab.engine.instances
    copy = instances[f"rowback-{case}"]
    resource_id, tags = copy.resource_id, dict(copy.tags)
    if where == "resource id":
        copy.resource_id = "db-SOMEBODYELSES"
    else:
        copy.tags = {} if where == "tags" else {**tags, TAG_CASE: "20200101-000000-aaaa"}
    ran = cli("close", case)
    assert ran.code == 24
    assert f"error[delete-refused]: 'rowback-{case}' is not proven to be the copy of case {case}" in ran.err
    assert "it was not deleted" in ran.err
    assert copy.status == "available"
    copy.resource_id, copy.tags = resource_id, tags
    assert cli("close", case).code == 0
