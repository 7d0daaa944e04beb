"""`rowback doctor` on an instance where all is well, and with one thing wrong at a time: it names exactly that."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from runbooks.lab.lab_server import REGION
from tests.fix_cli import Cli
from tests.scenarios.doctor import aws_faults, database_faults
from tests.scenarios.doctor.doctor_lab import (
    INJECTIONS,
    DoctorLab,
    aws,
    changed,
    role,
)

__all__ = ["aws_faults", "database_faults"]  # they register what they inject


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


def fix_of(doctor_lab: DoctorLab, name: str) -> str:
    (check,) = [check for check in json.loads(doctor_lab.run_checks()[0].out)["checks"] if check["name"] == name]
    return str(check["fix"])


def test_turning_backups_on_is_an_outage_and_said_to_be(doctor_lab: DoctorLab) -> None:
    with changed(doctor_lab.instance, retention_days=0, backups=[], latest_restorable=None):
        assert fix_of(doctor_lab, "backups") == (
            "aws rds modify-db-instance --region eu-west-1 --db-instance-identifier well-1 --backup-retention-period 7"
            " (in the next maintenance window: turning backups on restarts the server, an OUTAGE; with"
            " --apply-immediately it comes at once)"
        )
        assert "an OUTAGE" in doctor_lab.cli("coverage").out


def test_what_aws_backup_manages_is_changed_there(doctor_lab: DoctorLab) -> None:
    attributes = {**doctor_lab.instance.attributes, "AwsBackupRecoveryPointArn": "arn:aws:backup:x"}
    with changed(doctor_lab.instance, retention_days=1, attributes=attributes):
        fix = fix_of(doctor_lab, "retention")
    assert fix == "AWS Backup keeps its backups: change the rule of its backup plan to 7 days"


def test_a_stopped_instance_is_no_case_for_support(doctor_lab: DoctorLab) -> None:
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    with changed(doctor_lab.instance, status="stopped", latest_restorable=long_ago):
        assert fix_of(doctor_lab, "window") == "aws rds start-db-instance --db-instance-identifier well-1"
        coverage = doctor_lab.cli("coverage").out
    assert "it is stopped: its restore window ended 60 min ago" in coverage
    assert "ask AWS support" not in coverage


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
    assert lines[-1] == "27 well, 1 warning"


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
    assert login["Resource"] == [
        f"arn:aws:rds-db:{REGION}:123456789012:dbuser:{doctor_lab.instance.resource_id}/rowback"
    ]
    (never,) = [s for s in document["Statement"] if s["Sid"] == "NeverTheOriginal"]
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
