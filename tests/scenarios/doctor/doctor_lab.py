"""A lab in which all is well, and how it is made unwell for a while."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import psycopg

from runbooks.lab.lab_server import REGION, Lab
from runbooks.lab.lab_state import Instance
from tests.fix_cli import Cli, Ran
from tests.fix_lab import Database, Live, rds_client, wait_until

SETTINGS = {"log_statement": "mod", "log_line_prefix": "%t:%r:%u@%d:[%p]:%x:", "track_commit_timestamp": "on"}


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
