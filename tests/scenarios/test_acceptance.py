"""`rowback acceptance` on the lab: every answer is what the lab claims, and nothing is left over."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from runbooks.acceptance.assumptions import ASSUMPTIONS, Answer
from runbooks.lab.iam_policy import IdentityPolicy
from runbooks.lab.lab_server import REGION, Lab
from tests.fix_cli import Cli, Ran
from tests.fix_lab import Live, aws_client, start_instance, wait_until

ACCOUNT = "123456789012"
PATH, TRUST = "/aws-reserved/sso.amazonaws.com/eu-west-1/", '{"Version": "2012-10-17", "Statement": []}'
CONFIRMED = ("--profile", "first", "--data-mib", "1", "--confirm", ACCOUNT)
NOTHING = "nothing was created, nothing was written"
ROLE = "AWSReservedSSO_Recovery_0123456789abcdef"


@pytest.fixture
def first(cli: Cli, tmp_path: Path) -> Cli:
    (tmp_path / "rowback.toml").write_text(f'[profiles.first]\nregion = "{REGION}"\n')
    return cli


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


def test_fourteen_assumptions_are_listed() -> None:
    assert [each.number for each in ASSUMPTIONS] == list(range(1, 15))


def test_every_answer_is_what_the_lab_claims(first: Cli, recovery_role: str, tmp_path: Path) -> None:
    before = set(first.live.lab.engine.instances)
    ran = accepting(first, tmp_path, "--json")
    assert ran.code == 0, ran.err + ran.out
    result = json.loads(ran.out)
    assert answers(ran) == expected(first.live.lab), json.dumps(result, indent=1)
    seen = {finding["number"]: finding["seen"] for finding in result["findings"]}
    assert seen[1] == "all 5,000 rows came back, by a digest of each"
    assert seen[8] == "the original's is gp2, the copy's gp3"
    assert seen[11] == f"{recovery_role.replace(ACCOUNT, 'ACCOUNT')} was simulated; denied: nothing"
    assert ACCOUNT not in ran.out
    assert json.loads((first.home / "acceptance" / f"{result['run']}.json").read_text()) == result
    assert set(first.live.lab.engine.instances) == before
    assert left_over(first) == []


def test_the_same_on_postgresql_15(lab15: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rowback.toml").write_text(f'[profiles.first]\nregion = "{REGION}"\n')
    cli = Cli(Live(lab15, "none", "none"), tmp_path / "home", monkeypatch)
    ran = cli("acceptance", *CONFIRMED, "--json", AWS_ACCESS_KEY_ID="lab", AWS_SECRET_ACCESS_KEY="lab")
    assert ran.code == 0, ran.err + ran.out
    without_role = {1: "unknown", 11: "unknown"}
    assert answers(ran) == {**expected(lab15), **without_role}, ran.out
    assert left_over(cli) == []


def test_what_holds_no_longer_is_refuted(first: Cli, recovery_role: str, tmp_path: Path) -> None:
    """A permission too few in the printed policy, and no reason left why the copy with the default group ends."""
    policies = first.live.lab.engine.faults.policies
    policies[recovery_role] = policies[recovery_role].without("rds:RestoreDBInstanceToPointInTime")
    ran = accepting(first, tmp_path)
    assert ran.code == 40, ran.err
    assert " 1  refuted    The printed IAM policy suffices" in ran.out
    assert "these credentials may not call rds:RestoreDBInstanceToPointInTime" in ran.out
    assert "11  refuted    `doctor` can check" in ran.out
    assert "denied: rds:RestoreDBInstanceToPointInTime" in ran.out
    first("reap")  # the case that could not be given up without the permission
    assert left_over(first) == []


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (
            (),
            21,
            "error[confirmation-missing]: acceptance makes 'rowback-acceptance' and up to four copies of it in account"
            f" {ACCOUNT}, for $1.29 at most, and nobody confirmed that\n  {NOTHING}\n  help: add --confirm {ACCOUNT}\n",
        ),
        (
            ("--confirm", "210987654321"),
            21,
            "error[confirmation-missing]: acceptance makes 'rowback-acceptance' and up to four copies of it in account"
            f" {ACCOUNT}, for $1.29 at most, and '210987654321' is not that account\n  {NOTHING}\n"
            f"  help: add --confirm {ACCOUNT}\n",
        ),
        (
            ("--confirm", ACCOUNT, "--class", "db.nothing.huge"),
            60,
            "error[cost-ceiling]: nobody says what db.nothing.huge with 20 GiB of gp2 in eu-west-1 costs, so $5.00"
            f" cannot be promised\n  {NOTHING}\n  help: allow pricing:GetProducts, or choose another --class\n",
        ),
    ],
)
def test_refused_before_anything_is_made(first: Cli, options: tuple[str, ...], code: int, message: str) -> None:
    ran = first("acceptance", "--profile", "first", *options)
    assert (ran.code, ran.err) == (code, message)
    assert left_over(first) == []


def test_a_cost_above_the_ceiling_is_refused_with_the_one_that_is_needed(first: Cli) -> None:
    ran = first("acceptance", *CONFIRMED, "--max-cost", "1")
    assert ran.code == 60
    assert ran.err.startswith(
        "error[cost-ceiling]: 5 instances of db.t4g.micro with 20 GiB of gp2 in eu-west-1 for 12 hours cost $1.29 at"
        " most, more than $1.00\n  according to AWS's price list, "
    )
    assert ran.err.endswith(f"  {NOTHING}\n  help: --max-cost 2, or a smaller --class\n")
    assert left_over(first) == []


def tagged(cli: Cli, identifier: str, *tags: tuple[str, str]) -> None:
    cli.live.lab.engine.instances[identifier].tags = dict(tags)


def test_a_named_instance_has_to_be_disposable_and_outlives_the_run(first: Cli) -> None:
    disposable = start_instance(first.live.lab)
    login = {"PGUSER": disposable.user, "PGPASSWORD": disposable.password}
    options = ("acceptance", *CONFIRMED, "--instance", disposable.identifier)
    refused = first(*options, **login)
    assert refused.code == 17
    arn = f"arn:aws:rds:{REGION}:{ACCOUNT}:db:{disposable.identifier}"
    assert refused.err == (
        f"error[instance-unsuitable]: '{disposable.identifier}' is not declared to be disposable\n"
        "  acceptance makes a database, a slot, a subscription and a prepared transaction in it\n"
        f"  {NOTHING}\n"
        "  help: leave --instance out, and one is made; or, where nothing in it matters: aws rds add-tags-to-resource"
        f" --resource-name {arn} --tags Key=rowback:disposable,Value=true\n"
    )
    tagged(first, disposable.identifier, ("rowback:disposable", "true"))
    with disposable.connect() as session:
        session.execute("create table kept (id int)")
    ran = first(*options, "--json", **login)
    assert ran.code == 0, ran.err + ran.out
    assert answers(ran)[2] == "confirmed"
    with disposable.connect() as session:
        assert session.execute("select count(*) from kept").fetchall() == [(0,)]
        assert session.execute(
            "select (select count(*) from pg_database where datname like 'rowback%'),"
            " (select count(*) from pg_roles where rolname like 'rowback%'),"
            " (select count(*) from pg_prepared_xacts), (select count(*) from pg_subscription)"
        ).fetchall() == [(0, 0, 0, 0)]
    assert disposable.identifier in first.live.lab.engine.instances
    assert left_over(first) == []


def test_what_a_killed_run_left_is_reaped(first: Cli) -> None:
    engine = first.live.lab.engine
    engine.faults.creating_delay_s = 3.0
    try:
        run = first.start("acceptance", *CONFIRMED)
        wait_until(lambda: any(name.endswith("-default") for name in engine.instances), "its copies", 60)
        run.kill()
        run.communicate(timeout=30)
    finally:
        engine.faults.creating_delay_s = 0.0
    names = sorted(name for name in engine.instances if name.startswith("rowback-"))
    assert len(names) >= 3
    second = first("acceptance", *CONFIRMED)
    assert (second.code, second.err) == (
        23,
        "error[case-open]: run acceptance is there already\n  it was cut off, and its instances may run\n"
        f"  {NOTHING}\n  help: when it is not running: rowback reap\n",
    )
    dry = first("reap", "--dry-run")
    assert sorted(dry.out.splitlines()) == sorted(f"{name}: would be removed" for name in names)
    reaped = first("reap")
    assert sorted(reaped.out.splitlines()) == sorted(f"{name}: removed" for name in names)
    ran = first("acceptance", *CONFIRMED, "--json")
    assert ran.code == 0, ran.err
    assert left_over(first) == []


def test_an_interrupted_run_removes_what_it_made(first: Cli) -> None:
    engine = first.live.lab.engine
    run = first.start("acceptance", *CONFIRMED)
    wait_until(lambda: any(name.endswith("-default") for name in engine.instances), "its copies", 60)
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 130, said
    assert left_over(first) == []
