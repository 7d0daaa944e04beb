"""What can be wrong with an instance, with AWS, and with what a role may do there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from recovery.aws.restore_call import database_tag
from tests.fix_lab import discard
from tests.scenarios.doctor.doctor_lab import (
    DoctorLab,
    aws,
    changed,
    problem,
    warning,
)


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
