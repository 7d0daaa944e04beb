"""A lab per test process, an instance per module, a database per test. All of it real."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest

from guards.postgres_programs import system_directories
from recovery.model.instance import Endpoint
from recovery.postgres.connection_target import Target
from runbooks.lab.lab_server import REGION, Lab

_numbers = itertools.count(1)


def pytest_report_header() -> list[str]:
    """Say which PostgreSQL servers this run can use."""
    from guards.postgres_programs import program_directories

    found = [str(path) for path in program_directories() if (path / "postgres").is_file()]
    return [f"PostgreSQL for the lab: {', '.join(found) or 'none'}"]


@dataclass(frozen=True)
class Live:
    """An available instance of a lab and how to log in to it."""

    lab: Lab
    identifier: str
    password: str
    user: str = "postgres"

    @property
    def port(self) -> int:
        return self.lab.engine.instances[self.identifier].cluster.port

    def target(self, database: str = "postgres") -> Target:
        return Target(
            label=f"instance '{self.identifier}'",
            endpoint=Endpoint(host="127.0.0.1", port=self.port),
            database=database,
            user=self.user,
            password=self.password,
        )

    def dsn(self, database: str = "postgres") -> str:
        return f"host=127.0.0.1 port={self.port} user={self.user} password={self.password} dbname={database}"

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=self.user, password=self.password, dbname=database, autocommit=True
        )


@dataclass(frozen=True)
class Database:
    """A database of its own for one test."""

    live: Live
    name: str

    def connect(self) -> psycopg.Connection[Any]:
        return self.live.connect(self.name)

    def target(self) -> Target:
        return self.live.target(self.name)

    def run(self, *statements: str) -> None:
        with self.connect() as connection:
            for statement in statements:
                connection.execute(statement)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.connect() as connection:
            return connection.execute(query).fetchall()

    @property
    def superuser_dsn(self) -> str:
        """As the superuser that RDS keeps to itself."""
        return str(self.live.lab.engine.instances[self.live.identifier].cluster.dsn(self.name))

    def as_superuser(self, *statements: str) -> None:
        with psycopg.connect(self.superuser_dsn, autocommit=True) as admin:
            for statement in statements:
                admin.execute(statement)


def rds_client(lab: Lab) -> Any:
    return aws_client(lab, "rds")


def aws_client(lab: Lab, service: str) -> Any:
    """Of the lab, or of moto behind it, with the lab's own credentials."""
    return boto3.client(
        service,
        endpoint_url=f"http://127.0.0.1:{lab.port}",
        region_name=REGION,
        aws_access_key_id="lab",
        aws_secret_access_key="lab",
    )


def wait_until(condition: Any, what: str, deadline_s: float = 30.0) -> None:
    """Wait on a condition with a deadline."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"not within {deadline_s} s: {what}"
        time.sleep(0.02)


def discard(lab: Lab, which: Callable[[str], bool]) -> None:
    """Delete instances without waiting for their end."""
    for name, instance in list(lab.engine.instances.items()):
        if which(name) and instance.status != "deleting":
            lab.engine.delete(instance, keep_backups=False)


def end_instance(lab: Lab, name: str, *groups: str) -> None:
    """Delete an instance and its parameter groups and wait for its end.

    A module's fixture may be set up twice in one process: tests of another module may run in between.
    """
    discard(lab, lambda identifier: identifier == name)
    wait_until(lambda: name not in lab.engine.instances, f"the end of {name}")
    for group in groups:
        del lab.engine.parameters[group]


def start_instance(lab: Lab) -> Live:
    identifier = f"live-{next(_numbers)}"
    password = lab.create_instance(identifier, PubliclyAccessible=False)
    return Live(lab, identifier, password)


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The lab of this test process, on the default PostgreSQL."""
    with Lab.start() as running:
        yield running


@pytest.fixture(scope="session")
def lab15() -> Iterator[Lab]:
    """A second lab on a system PostgreSQL 15; skips where there is none."""
    found = next((path for path in system_directories() if "/15/" in f"{path}/"), None)
    if found is None:
        pytest.skip("no system PostgreSQL 15 on this machine (apt-get install postgresql-15 brings one)")
    before = os.environ.get("ROWBACK_PG_BIN")
    os.environ["ROWBACK_PG_BIN"] = str(found)
    try:
        running = Lab.start()
    finally:
        if before is None:
            del os.environ["ROWBACK_PG_BIN"]
        else:
            os.environ["ROWBACK_PG_BIN"] = before
    with running:
        yield running


@pytest.fixture(scope="module")
def live(lab: Lab) -> Iterator[Live]:
    """An instance for one test module: short WAL, quick restores. It goes with the module."""
    started = start_instance(lab)
    yield started
    discard(lab, lambda name: name == started.identifier)


@pytest.fixture
def database(live: Live, request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database for one test; kept when it failed, so that it can be looked at."""
    yield from database_on(live)


def database_on(live: Live) -> Iterator[Database]:
    name = f"db{next(_numbers)}"
    with live.connect() as connection:
        connection.execute(f'create database "{name}"')
    yield Database(live, name)
    # as the server's own superuser, whose sessions look at it in some tests
    with psycopg.connect(live.lab.engine.instances[live.identifier].cluster.dsn(), autocommit=True) as server:
        server.execute(f'drop database if exists "{name}" with (force)')


@pytest.fixture
def rds(lab: Lab) -> Any:
    """boto3's own client on the lab."""
    return rds_client(lab)


@pytest.fixture
def chinook() -> Path:
    """The real data set where it exists; never copied into the repository."""
    path = Path(__file__).parents[2] / "shared" / "data" / "chinook.sql"
    if not path.is_file():
        pytest.skip("../shared/data/chinook.sql is not on this machine")
    return path
