"""`rowback doctor` on an instance where all is well, and with one thing wrong at a time: it names exactly that."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest

from recovery.aws.instances import database_tag
from recovery.model.recovery_report import Objectives
from recovery.store.drill_history import DrillRecord
from runbooks.lab.lab_server import REGION, Lab
from runbooks.lab.lab_state import Instance
from tests.fix_cli import Cli, Ran
from tests.fix_lab import Database, Live, discard, rds_client, wait_until

SETTINGS = {"log_statement": "mod", "log_line_prefix": "%t:%r:%u@%d:[%p]:%x:", "track_commit_timestamp": "on"}


@pytest.fixture(scope="module")
def live(lab: Lab) -> Iterator[Live]:
    """An instance that nothing is wrong with."""
    rds = rds_client(lab)
    family = f"postgres{lab.engine.tools.major}"
    rds.create_db_parameter_group(DBParameterGroupName="well", DBParameterGroupFamily=family, Description="well")
    rds.modify_db_parameter_group(
        DBParameterGroupName="well",
        Parameters=[
            {"ParameterName": name, "ParameterValue": value, "ApplyMethod": "pending-reboot"}
            for name, value in SETTINGS.items()
        ],
    )
    password = lab.create_instance(
        "well-1", PubliclyAccessible=False, DeletionProtection=True, DBParameterGroupName="well"
    )
    yield Live(lab, "well-1", password)
    discard(lab, lambda name: name == "well-1")


@dataclass
class DoctorLab:
    """What an injection can reach."""

    lab: Lab
    live: Live
    database: Database
    cli: Cli
    place: Path
    arguments: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def instance(self) -> Instance:
        return self.lab.engine.instances[self.live.identifier]

    def admin(self, database: str = "postgres") -> psycopg.Connection[Any]:
        return psycopg.connect(self.instance.cluster.dsn(database), autocommit=True)

    def profile(self, text: str) -> None:
        path = self.place / "rowback.toml"
        path.write_text(f"[profiles.p]\n{text}\n")
        self.environment["ROWBACK_CONFIG"] = str(path)
        self.arguments += ["--profile", "p"]

    def run_checks(self) -> tuple[Ran, dict[str, str]]:
        found = self.cli(
            "doctor",
            self.live.identifier,
            "--database",
            self.database.name,
            "--json",
            *self.arguments,
            **self.environment,
        )
        checks = json.loads(found.out)["checks"]
        return found, {check["name"]: check["state"] for check in checks if check["state"] != "ok"}


@pytest.fixture
def doctor_lab(lab: Lab, live: Live, database: Database, cli: Cli, tmp_path: Path) -> DoctorLab:
    """All is well: the drill was held, the database has one table with a key."""
    drill = DrillRecord(
        at=datetime.now(UTC),
        target=live.identifier,
        fault="truncate",
        passed=True,
        recovery_time_s=3.0,
        data_loss_s=1.0,
        objectives=Objectives(),
        phases_s={},
        rows=1,
        tool_version="0",
    )
    (cli.home / "drills").mkdir(parents=True)
    (cli.home / "drills" / "one.json").write_text(drill.model_dump_json())
    database.run("create table people (id int primary key, name text)")
    return DoctorLab(lab, live, database, cli, tmp_path)


Injection = Callable[[DoctorLab], AbstractContextManager[None]]
INJECTIONS: dict[str, tuple[str, Injection]] = {}


def problem(name: str) -> Callable[[Callable[[DoctorLab], Iterator[None]]], Injection]:
    return _injection(name, "problem")


def warning(name: str) -> Callable[[Callable[[DoctorLab], Iterator[None]]], Injection]:
    return _injection(name, "warning")


def _injection(name: str, state: str) -> Callable[[Callable[[DoctorLab], Iterator[None]]], Injection]:
    def register(function: Callable[[DoctorLab], Iterator[None]]) -> Injection:
        made = contextmanager(function)
        INJECTIONS[f"{name} {function.__name__}"] = (state, made)
        return made

    return register


@contextmanager
def changed(subject: object, **values: object) -> Iterator[None]:
    """Attributes of the lab's own state, for a while."""
    before = {name: getattr(subject, name) for name in values}
    for name, value in values.items():
        object.__setattr__(subject, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            object.__setattr__(subject, name, value)


@contextmanager
def settings(doctor_lab: DoctorLab, **values: str) -> Iterator[None]:
    """Server settings, in force."""
    cluster = doctor_lab.instance.cluster
    before = dict(cluster.settings)
    _put(doctor_lab, {**before, **{name.replace("__", "."): value for name, value in values.items()}})
    yield
    _put(doctor_lab, before)


def _put(doctor_lab: DoctorLab, wanted: dict[str, str]) -> None:
    cluster = doctor_lab.instance.cluster
    cluster.settings = wanted
    cluster.reload()
    shown = "select bool_and(current_setting(n, true) = v) from unnest(%s::text[], %s::text[]) t(n, v)"
    with doctor_lab.admin() as admin:
        asked = (list(wanted), list(wanted.values()))
        wait_until(lambda: admin.execute(shown, asked).fetchone() == (True,), str(wanted))


@problem("permission rds:RestoreDBInstanceToPointInTime")
def may_not_restore(doctor_lab: DoctorLab) -> Iterator[None]:
    with changed(doctor_lab.lab.engine.faults, denied={"rds:RestoreDBInstanceToPointInTime"}):
        yield


@warning("permission rds:DownloadDBLogFilePortion")
def may_not_read_logs(doctor_lab: DoctorLab) -> Iterator[None]:
    with changed(doctor_lab.lab.engine.faults, denied={"rds:DownloadDBLogFilePortion"}):
        yield


@problem("permission secretsmanager:GetSecretValue")
def may_not_read_the_login(doctor_lab: DoctorLab) -> Iterator[None]:
    secrets = aws(doctor_lab, "secretsmanager")
    login = json.dumps({"username": doctor_lab.live.user, "password": doctor_lab.live.password})
    arn = secrets.create_secret(Name="login", SecretString=login)["ARN"]
    doctor_lab.profile(f'credentials = {{source = "secretsmanager", arn = "{arn}"}}')
    with changed(doctor_lab.lab.engine.faults, denied={"secretsmanager:GetSecretValue"}):
        yield
    secrets.delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True)


@problem("status")
def storage_full(doctor_lab: DoctorLab) -> Iterator[None]:
    with changed(doctor_lab.instance, status="storage-full"):
        yield


@warning("status")
def being_modified(doctor_lab: DoctorLab) -> Iterator[None]:
    with changed(doctor_lab.instance, status="modifying"):
        yield


@problem("open-copy")
def somebody_elses_case(doctor_lab: DoctorLab) -> Iterator[None]:
    tags = {
        "rowback:managed": "true",
        "rowback:case": "x",
        "rowback:source": doctor_lab.instance.resource_id,
        "rowback:expires": "2099-01-01T00:00:00Z",
        "rowback:database": database_tag(doctor_lab.database.name),
    }
    doctor_lab.lab.create_instance("rowback-y", Tags=[{"Key": key, "Value": value} for key, value in tags.items()])
    yield
    discard(doctor_lab.lab, lambda name: name == "rowback-y")


@problem("backups")
def backups_off(doctor_lab: DoctorLab) -> Iterator[None]:
    with changed(doctor_lab.instance, retention_days=0, backups=[], latest_restorable=None):
        yield


@warning("retention")
def kept_for_a_day(doctor_lab: DoctorLab) -> Iterator[None]:
    with changed(doctor_lab.instance, retention_days=1):
        yield


@problem("window")
def window_an_hour_behind(doctor_lab: DoctorLab) -> Iterator[None]:
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    with (
        changed(doctor_lab.lab.engine.faults, restorable_lag_s=3600.0),
        changed(doctor_lab.instance, latest_restorable=long_ago),
    ):
        yield
    doctor_lab.instance.latest_restorable = datetime.now(UTC)


@warning("deletion-protection")
def deletable(doctor_lab: DoctorLab) -> Iterator[None]:
    with changed(doctor_lab.instance, attributes={**doctor_lab.instance.attributes, "DeletionProtection": False}):
        yield


@problem("quota DBInstances")
def no_room(doctor_lab: DoctorLab) -> Iterator[None]:
    with changed(doctor_lab.lab.account, instance_quota=0):
        yield


@problem("network")
def subnets_incomplete(doctor_lab: DoctorLab) -> Iterator[None]:
    with changed(doctor_lab.lab.engine.subnet_groups["default"], status="Incomplete"):
        yield


@problem("class")
def class_not_offered(doctor_lab: DoctorLab) -> Iterator[None]:
    doctor_lab.profile('copy_class = "db.m1.small"')
    yield


@problem("key")
def key_disabled(doctor_lab: DoctorLab) -> Iterator[None]:
    kms = aws(doctor_lab, "kms")
    key = kms.create_key()["KeyMetadata"]
    kms.disable_key(KeyId=key["KeyId"])
    encrypted = {"StorageEncrypted": True, "KmsKeyId": key["Arn"]}
    with changed(doctor_lab.instance, attributes={**doctor_lab.instance.attributes, **encrypted}):
        yield


@warning("certificate")
def certificate_ends(doctor_lab: DoctorLab) -> Iterator[None]:
    with changed(doctor_lab.instance, certificate_until=datetime.now(UTC) + timedelta(days=10)):
        yield


@warning("leftovers")
def old_copy(doctor_lab: DoctorLab) -> Iterator[None]:
    tags = {
        "rowback:managed": "true",
        "rowback:case": "x",
        "rowback:source": doctor_lab.instance.resource_id,
        "rowback:expires": "2026-01-01T00:00:00Z",
    }
    doctor_lab.lab.create_instance("rowback-x", Tags=[{"Key": key, "Value": value} for key, value in tags.items()])
    yield
    discard(doctor_lab.lab, lambda name: name == "rowback-x")


@problem("login")
def wrong_password(doctor_lab: DoctorLab) -> Iterator[None]:
    doctor_lab.environment["PGPASSWORD"] = "wrong"
    yield


@problem("reachability")
def nobody_listens(doctor_lab: DoctorLab) -> Iterator[None]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with changed(doctor_lab.instance.cluster, port=taken.getsockname()[1]):
            yield


@problem("tls")
def another_authority(doctor_lab: DoctorLab) -> Iterator[None]:
    from runbooks.lab.tls import create_authority

    bundle = doctor_lab.place / "other.pem"
    bundle.write_text(create_authority().bundle)
    doctor_lab.profile(f'sslmode = "verify-full"\nca_bundle = "{bundle}"')
    yield


@problem("connections")
def crowded(doctor_lab: DoctorLab) -> Iterator[None]:
    with ExitStack() as stack, doctor_lab.admin() as admin:
        row = admin.execute("select current_setting('max_connections')::int - 7").fetchone()
        assert row
        for _ in range(row[0]):
            stack.enter_context(doctor_lab.live.connect())
        count = "select count(*) > %s from pg_stat_activity where backend_type = 'client backend'"
        wait_until(lambda: admin.execute(count, row).fetchone() == (True,), "nearly all sessions")
        yield


@problem("privileges")
def somebody_elses_table(doctor_lab: DoctorLab) -> Iterator[None]:
    with role(doctor_lab, f"grant create on database {doctor_lab.database.name} to clerk", "grant pg_monitor to clerk"):
        yield


@problem("schema-privilege")
def no_schema(doctor_lab: DoctorLab) -> Iterator[None]:
    with role(doctor_lab, "grant all on people to clerk", "grant pg_monitor to clerk"):
        yield


@warning("logging")
def nothing_logged(doctor_lab: DoctorLab) -> Iterator[None]:
    with settings(doctor_lab, log_statement="none"):
        yield


@warning("logging")
def errors_hidden(doctor_lab: DoctorLab) -> Iterator[None]:
    with settings(doctor_lab, log_min_messages="panic"):
        yield


@warning("log-retention")
def logs_go_soon(doctor_lab: DoctorLab) -> Iterator[None]:
    with settings(doctor_lab, rds__log_retention_period="60"):
        yield


@warning("commit-timestamps")
def no_commit_timestamps(doctor_lab: DoctorLab) -> Iterator[None]:
    doctor_lab.lab.engine.parameters["well"].values["track_commit_timestamp"] = "off"
    reboot(doctor_lab)
    yield
    doctor_lab.lab.engine.parameters["well"].values["track_commit_timestamp"] = "on"
    reboot(doctor_lab)


@warning("keys")
def no_key(doctor_lab: DoctorLab) -> Iterator[None]:
    doctor_lab.database.run('create table "Weird Name; --" ("t" int)')
    yield


@problem("row-security")
def rows_hidden(doctor_lab: DoctorLab) -> Iterator[None]:
    doctor_lab.database.run(
        "alter table people enable row level security", "alter table people force row level security"
    )
    yield


@warning("unlogged")
def unlogged_table(doctor_lab: DoctorLab) -> Iterator[None]:
    doctor_lab.database.run("create unlogged table cache (id int primary key)")
    yield


@warning("large-objects")
def large_objects(doctor_lab: DoctorLab) -> Iterator[None]:
    doctor_lab.database.run("select lo_create(4711)")
    yield


@problem("foreign-key-cycles")
def cycle(doctor_lab: DoctorLab) -> Iterator[None]:
    doctor_lab.database.run(
        "create table firms (id int primary key, head int not null references people)",
        "alter table people add firm int not null references firms",
    )
    grants = [f"grant create on database {doctor_lab.database.name} to clerk", "grant all on people, firms to clerk"]
    grants += ["grant pg_monitor to clerk"]
    with role(doctor_lab, *grants):
        yield


@warning("replication-slots")
def nobody_reads(doctor_lab: DoctorLab) -> Iterator[None]:
    with doctor_lab.admin() as admin:
        admin.execute("select pg_create_physical_replication_slot('gone', true)")
        yield
        admin.execute("select pg_drop_replication_slot('gone')")


@warning("subscriptions")
def subscribed(doctor_lab: DoctorLab) -> Iterator[None]:
    with doctor_lab.admin(doctor_lab.database.name) as admin:
        admin.execute("create subscription news connection 'port=1' publication p with (connect = false)")
        admin.execute("alter subscription news enable")
        yield
        admin.execute("alter subscription news disable")
        admin.execute("alter subscription news set (slot_name = none)")
        admin.execute("drop subscription news")


@problem("references")
def reference_to_nowhere(doctor_lab: DoctorLab) -> Iterator[None]:
    doctor_lab.profile("")
    path = Path(doctor_lab.environment["ROWBACK_CONFIG"])
    name = doctor_lab.database.name
    path.write_text(
        f'{path.read_text()}[[reference]]\nfrom = "{name}.public.people.gone"\nto = "{name}.public.people.id"\n'
    )
    yield


@problem("client-programs")
def no_pg_dump(doctor_lab: DoctorLab) -> Iterator[None]:
    (doctor_lab.place / "empty").mkdir()
    doctor_lab.environment["ROWBACK_PG_BIN"] = str(doctor_lab.place / "empty")
    yield


@problem("state-directory")
def nowhere_to_write(doctor_lab: DoctorLab) -> Iterator[None]:
    doctor_lab.environment["ROWBACK_HOME"] = "/proc/self/nowhere"
    yield


@problem("disk")
def disk_full(doctor_lab: DoctorLab) -> Iterator[None]:
    small = doctor_lab.place / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", small], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("needs root and the right to mount a small tmpfs")
    (doctor_lab.cli.home / "drills").rename(doctor_lab.place / "drills")
    (small / "drills").mkdir()
    (small / "drills" / "one.json").write_bytes((doctor_lab.place / "drills" / "one.json").read_bytes())
    doctor_lab.environment["ROWBACK_HOME"] = str(small)
    try:
        yield
    finally:
        subprocess.run(["umount", small], check=True)


@warning("drill")
def drill_long_ago(doctor_lab: DoctorLab) -> Iterator[None]:
    path = doctor_lab.cli.home / "drills" / "one.json"
    old = DrillRecord.model_validate_json(path.read_text()).model_copy(update={"at": datetime(2026, 1, 1, tzinfo=UTC)})
    path.write_text(old.model_dump_json())
    yield


@warning("drill")
def drilled_on_the_lab_alone(doctor_lab: DoctorLab) -> Iterator[None]:
    """It says nothing of this instance, its size and its backups."""
    path = doctor_lab.cli.home / "drills" / "one.json"
    path.write_text(path.read_text().replace(f'"{doctor_lab.live.identifier}"', '"lab"'))
    yield


@warning("cases")
def broken_journal(doctor_lab: DoctorLab) -> Iterator[None]:
    (doctor_lab.cli.home / "cases" / "20260101-000000-abcd").mkdir(parents=True)
    (doctor_lab.cli.home / "cases" / "20260101-000000-abcd" / "journal.jsonl").write_text("{}\n")
    yield


def aws(doctor_lab: DoctorLab, service: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=f"http://127.0.0.1:{doctor_lab.lab.port}",
        region_name=REGION,
        aws_access_key_id="lab",
        aws_secret_access_key="lab",
    )


@contextmanager
def role(doctor_lab: DoctorLab, *grants: str) -> Iterator[None]:
    """Log in as `clerk`, who has been granted that."""
    with doctor_lab.admin(doctor_lab.database.name) as admin:
        admin.execute("create role clerk login password 'clerk-clerk'")
        for grant in grants:
            admin.execute(grant)
        doctor_lab.environment |= {"PGUSER": "clerk", "PGPASSWORD": "clerk-clerk"}
        try:
            yield
        finally:
            admin.execute("reassign owned by clerk to postgres")
            admin.execute("drop owned by clerk")
            admin.execute("drop role clerk")


def reboot(doctor_lab: DoctorLab) -> None:
    rds_client(doctor_lab.lab).reboot_db_instance(DBInstanceIdentifier=doctor_lab.live.identifier)
    wait_until(lambda: doctor_lab.instance.status == "available", "available again")


def test_all_is_well(doctor_lab: DoctorLab) -> None:
    found, wrong = doctor_lab.run_checks()
    assert (found.code, wrong, found.err) == (0, {}, "")


@pytest.mark.parametrize("injection", INJECTIONS)
def test_exactly_that_is_named(doctor_lab: DoctorLab, injection: str) -> None:
    name = injection.rpartition(" ")[0]
    state, inject = INJECTIONS[injection]
    with inject(doctor_lab):
        found, wrong = doctor_lab.run_checks()
    assert wrong == {name: state}
    assert found.code == (45 if state == "problem" else 0)
    if state == "problem":
        assert found.err == (
            f"error[not-recoverable]: a recovery of 'well-1' would fail now: {name}\n"
            "  nothing was created, nothing was written\n"
            "  help: the fixes are above; then: rowback doctor well-1\n"
        )


def test_there_are_enough_of_them() -> None:
    assert len({name.rpartition(" ")[0] for name in INJECTIONS}) >= 25


def test_a_backup_that_runs_is_no_problem(doctor_lab: DoctorLab) -> None:
    with changed(doctor_lab.instance, status="backing-up"):
        assert doctor_lab.run_checks()[1] == {}


def test_a_database_without_tables_tells_nothing(doctor_lab: DoctorLab) -> None:
    doctor_lab.database.run("drop table people")
    found, wrong = doctor_lab.run_checks()
    assert wrong == {"tables": "unknown"}
    (check,) = [check for check in json.loads(found.out)["checks"] if check["name"] == "tables"]
    assert check["reason"] == f"database '{doctor_lab.database.name}' holds no table, so nothing was looked at"
    assert doctor_lab.database.name in check["fix"]


def test_what_a_role_may_not_read_costs_only_that_check(doctor_lab: DoctorLab) -> None:
    """Its schema is closed to the role: the catalog cannot be read, a plan would fail; the rest is looked at."""
    doctor_lab.database.run("create schema closed", "create table closed.t (id serial primary key)")
    grants = [f"grant create on database {doctor_lab.database.name} to clerk", "grant pg_monitor to clerk"]
    with role(doctor_lab, *grants):
        found, wrong = doctor_lab.run_checks()
    assert wrong == {"privileges": "problem"}
    assert found.code == 45
    names = [check["name"] for check in json.loads(found.out)["checks"]]
    assert {"login", "logging", "locks", "disk"} <= set(names)


def test_a_role_that_sees_no_others_says_so(doctor_lab: DoctorLab) -> None:
    grants = [f"grant create on database {doctor_lab.database.name} to clerk", "grant all on people to clerk"]
    with role(doctor_lab, *grants):
        assert doctor_lab.run_checks()[1] == {"locks": "unknown"}


def test_the_fix_names_this_instance_and_its_days(doctor_lab: DoctorLab) -> None:
    doctor_lab.profile("minimum_retention_days = 14")
    found, wrong = doctor_lab.run_checks()
    assert wrong == {"retention": "warning"}
    (check,) = [check for check in json.loads(found.out)["checks"] if check["name"] == "retention"]
    assert check["fix"] == (
        "aws rds modify-db-instance --region eu-west-1 --db-instance-identifier well-1 --backup-retention-period 14"
        " --apply-immediately"
    )


@pytest.mark.parametrize("service", ["IAM", "STS"])
def test_other_services_out_of_reach_cost_only_their_checks(doctor_lab: DoctorLab, service: str) -> None:
    doctor_lab.environment[f"AWS_ENDPOINT_URL_{service}"] = "http://127.0.0.1:1"
    _, wrong = doctor_lab.run_checks()
    assert wrong == {"permissions": "unknown"} | ({"identity": "unknown"} if service == "STS" else {})


def test_the_region_of_the_option_is_enough(doctor_lab: DoctorLab, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {**doctor_lab.cli.environment, "AWS_DEFAULT_REGION": ""}
    asked = ["doctor", "well-1", "--region", REGION, "--database", doctor_lab.database.name]
    done = subprocess.run(
        [sys.executable, "-m", "recovery.cli", *asked],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_text_names_what_is_wrong_with_its_fix(doctor_lab: DoctorLab) -> None:
    doctor_lab.database.run("create unlogged table cache (id int primary key)")
    found = doctor_lab.cli("doctor", "well-1", "--database", doctor_lab.database.name)
    lines = found.out.splitlines()
    at = next(number for number, line in enumerate(lines) if " ! unlogged " in line)
    assert lines[at].split(maxsplit=2)[2] == "unlogged, so no backup holds their rows: public.cache"
    assert lines[at + 1].strip() == "fix: alter table … set logged, if they matter"
    assert lines[-1] == "25 well, 1 warning"


def test_what_cannot_be_seen_is_unknown_never_well(doctor_lab: DoctorLab) -> None:
    denied = {"rds:DescribeAccountAttributes", "iam:SimulatePrincipalPolicy"}
    with changed(doctor_lab.lab.engine.faults, denied=denied):
        found, wrong = doctor_lab.run_checks()
    assert wrong == {"permissions": "unknown", "quota": "unknown"}
    assert found.code == 0
    checks = {check["name"]: check["reason"] for check in json.loads(found.out)["checks"]}
    assert checks["quota"] == (
        "these credentials may not call rds:DescribeAccountAttributes; User: lab is not authorized to perform:"
        " rds:DescribeAccountAttributes"
    )


def test_a_quota_that_aws_does_not_tell_is_not_taken_for_room(doctor_lab: DoctorLab) -> None:
    with changed(doctor_lab.lab.engine.faults, quotas_told=("ManualSnapshots",)):
        found, wrong = doctor_lab.run_checks()
    assert wrong == {"quota": "unknown"}
    checks = {check["name"]: check["reason"] for check in json.loads(found.out)["checks"]}
    assert checks["quota"] == "AWS tells no quota AllocatedStorage, DBInstances"


def test_mistakes(cli: Cli) -> None:
    nobody = cli("doctor")
    assert nobody.err.startswith("error[usage]: INSTANCE is missing\n")
    assert (nobody.code, nobody.out) == (2, "")
    found = cli("doctor", "wel-1")
    assert (found.code, found.out) == (10, "")
    assert found.err.splitlines()[1] == "  nearest names: well-1"
    gone = cli("doctor", "well-1", AWS_ENDPOINT_URL="http://127.0.0.1:1", AWS_MAX_ATTEMPTS="1")
    assert (gone.code, gone.out) == (32, "")
    assert gone.err.startswith("error[aws-unreachable]: ")


def test_the_policy_is_what_iam_takes(doctor_lab: DoctorLab) -> None:
    """All three forms hold the same document."""
    doctor_lab.profile('credentials = {source = "iam", user = "rowback"}')
    printed = {
        form: doctor_lab.cli(
            "doctor", "well-1", f"--iam-policy={form}", *doctor_lab.arguments, **doctor_lab.environment
        ).out
        for form in ("json", "terraform", "cloudformation")
    }
    document = json.loads(printed["json"])
    aws(doctor_lab, "iam").create_policy(
        PolicyName="rowback", PolicyDocument=printed["json"]
    )  # moto checks its grammar
    (resource,) = json.loads(printed["cloudformation"])["Resources"].values()
    assert (resource["Type"], resource["Properties"]["PolicyDocument"]) == ("AWS::IAM::ManagedPolicy", document)
    assert json.loads(printed["terraform"].partition("<<-POLICY\n")[2].rpartition("  POLICY")[0]) == document
    (login,) = [s for s in document["Statement"] if s["Sid"] == "LogIn"]
    assert login["Resource"] == [f"arn:aws:rds-db:{REGION}:123456789012:dbuser:*/rowback"]
    (never,) = [s for s in document["Statement"] if s["Effect"] == "Deny"]
    assert "rds:DeleteDBInstance" in never["Action"]
    assert never["Resource"] == [f"arn:aws:rds:{REGION}:123456789012:db:well-1"]


def test_who_may_see_nothing_yet_is_told_what_to_ask_for(doctor_lab: DoctorLab) -> None:
    with changed(doctor_lab.lab.engine.faults, denied={"rds:DescribeDBInstances"}):
        found = doctor_lab.cli("doctor", "well-1", "--iam-policy")
    assert found.code == 0
    assert found.err == (
        "written without having seen 'well-1': these credentials may not call rds:DescribeDBInstances on 'well-1'\n"
    )
    assert json.loads(found.out)["Statement"][0]["Sid"] == "Read"
