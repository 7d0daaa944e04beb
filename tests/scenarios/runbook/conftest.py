"""Fixtures of the tests here."""

from __future__ import annotations

import boto3
import pytest

from recovery.model.target import format_utc
from runbooks.lab.background import pass_a_second
from runbooks.lab.lab_server import REGION, Lab
from tests.fix_lab import Database


@pytest.fixture
def target(database: Database) -> str:
    """Two people, a second, and nobody."""
    database.run(
        "create table people (id int primary key, name text)", "insert into people values (1, 'ann'), (2, 'bob')"
    )
    moment = pass_a_second()
    database.run("truncate people")
    return format_utc(moment)


@pytest.fixture(scope="session")  # as the lab: workers leave a module and come back to it
def users(lab: Lab) -> dict[str, dict[str, str]]:
    """AWS credentials of two people."""
    iam = boto3.client(
        "iam",
        endpoint_url=f"http://127.0.0.1:{lab.port}",
        region_name=REGION,
        aws_access_key_id="lab",
        aws_secret_access_key="lab",
    )
    found = {}
    for name in ("carl", "dora"):
        iam.create_user(UserName=name)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        found[name] = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    return found
