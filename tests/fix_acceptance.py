"""Acceptance runs on a lab: a profile, a role with the printed policy, and what may be left over."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from runbooks.acceptance.assumptions import ASSUMPTIONS, Answer
from runbooks.lab.iam_policy import IdentityPolicy
from runbooks.lab.lab_server import REGION, Lab
from tests.fix_cli import Cli, Ran
from tests.fix_lab import aws_client, wait_until

ACCOUNT = "123456789012"
PATH, TRUST = "/aws-reserved/sso.amazonaws.com/eu-west-1/", '{"Version": "2012-10-17", "Statement": []}'
CONFIRMED = ("--profile", "first", "--data-mib", "1", "--confirm", ACCOUNT)
NOTHING = "nothing was created, nothing was written"
ROLE = "AWSReservedSSO_Recovery_0123456789abcdef"


@pytest.fixture
def first(cli: Cli, tmp_path: Path) -> Iterator[Cli]:
    (tmp_path / "rowback.toml").write_text(f'[profiles.first]\nregion = "{REGION}"\n')
    instances = cli.live.lab.engine.instances
    wait_until(lambda: not any(name.startswith("rowback-") for name in instances), "the end of other tests' instances")
    yield cli
    cli.live.lab.engine.parameters.pop("rowback-acceptance", None)


@pytest.fixture
def recovery_role(first: Cli, tmp_path: Path) -> Iterator[str]:
    """AWS profile `recovery`: a role with a path that may do what is printed, and nothing else. Its ARN."""
    iam, faults = aws_client(first.live.lab, "iam"), first.live.lab.engine.faults
    arn = str(iam.create_role(RoleName=ROLE, Path=PATH, AssumeRolePolicyDocument=TRUST)["Role"]["Arn"])
    session = aws_client(first.live.lab, "sts").assume_role(RoleArn=arn, RoleSessionName="jo")["Credentials"]
    (tmp_path / "credentials").write_text(
        f"[recovery]\naws_access_key_id = {session['AccessKeyId']}\n"
        f"aws_secret_access_key = {session['SecretAccessKey']}\naws_session_token = {session['SessionToken']}\n"
    )
    printed = first("acceptance", "--profile", "first", "--iam-policy")
    assert printed.code == 0, printed.err
    faults.policies[arn] = IdentityPolicy.of(json.loads(printed.out))
    yield arn
    faults.policies.clear()
    iam.delete_role(RoleName=ROLE)


def accepting(cli: Cli, tmp_path: Path, *more: str) -> Ran:
    options = (*CONFIRMED, "--policy-profile", "recovery", *more)
    return cli("acceptance", *options, AWS_SHARED_CREDENTIALS_FILE=str(tmp_path / "credentials"))


def answers(ran: Ran) -> dict[int, str]:
    return {finding["number"]: finding["answer"] for finding in json.loads(ran.out)["findings"]}


def expected(lab: Lab) -> dict[int, Answer]:
    old = lab.engine.tools.major < 16
    return {each.number: (each.on_lab_15 if old and each.on_lab_15 else each.on_lab) for each in ASSUMPTIONS}


def left_over(cli: Cli) -> list[str]:
    engine, rehearsals = cli.live.lab.engine, cli.home / "rehearsals"
    names = [name for name in engine.instances if name.startswith("rowback-")]
    groups = [name for name in engine.parameters if name.startswith("rowback-")]
    return names + groups + [str(path) for path in (rehearsals.iterdir() if rehearsals.is_dir() else ())]
