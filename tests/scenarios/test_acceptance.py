"""`rowback acceptance` on the lab: every answer is what the lab claims, and nothing is left over."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from runbooks.acceptance.assumptions import ASSUMPTIONS
from runbooks.lab.fault_catalogue import switch
from runbooks.lab.lab_server import REGION, Lab
from runbooks.lab.lab_state import Parameters
from tests.fix_acceptance import ACCOUNT, CONFIRMED, NOTHING, accepting, answers, expected, left_over
from tests.fix_cli import Cli
from tests.fix_lab import Live, end_instance, start_instance, wait_until


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
    assert ran.code == 40, ran.err + ran.out  # of 4
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
    assert "11  confirmed  `doctor` can check" in ran.out  # it says what is missing
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


@pytest.fixture
def disposable(first: Cli) -> Iterator[Live]:
    live = start_instance(first.live.lab)
    first.live.lab.engine.instances[live.identifier].tags = {"rowback:disposable": "true"}
    yield live
    end_instance(first.live.lab, live.identifier)


def naming(live: Live, *more: str) -> tuple[str, ...]:
    return ("acceptance", *CONFIRMED, "--instance", live.identifier, *more)


def login(live: Live) -> dict[str, str]:
    return {"PGUSER": live.user, "PGPASSWORD": live.password}


def in_server(live: Live) -> list[tuple[str, str]]:
    """Everything that outlives a session and could be of a run."""
    with live.connect() as session:
        return session.execute(
            "select 'database', datname from pg_database union all select 'role', rolname from pg_roles"
            " union all select 'prepared', gid from pg_prepared_xacts"
            " union all select 'subscription', subname from pg_subscription"
            " union all select 'slot', slot_name from pg_replication_slots order by 1, 2"
        ).fetchall()


def test_a_named_instance_has_to_be_disposable(first: Cli, disposable: Live) -> None:
    first.live.lab.engine.instances[disposable.identifier].tags = {"rowback:disposable": "no"}
    before = in_server(disposable)
    refused = first(*naming(disposable), **login(disposable))
    arn = f"arn:aws:rds:{REGION}:{ACCOUNT}:db:{disposable.identifier}"
    assert (refused.code, refused.err) == (
        17,
        f"error[instance-unsuitable]: '{disposable.identifier}' is not declared to be disposable\n"
        "  acceptance makes a database, a slot, a subscription and a prepared transaction in it\n"
        f"  {NOTHING}\n"
        "  help: leave --instance out, and one is made; or, where nothing in it matters: aws rds add-tags-to-resource"
        f" --resource-name {arn} --tags Key=rowback:disposable,Value=true\n",
    )
    assert in_server(disposable) == before


def test_a_named_instance_outlives_the_run_as_it_was(first: Cli, disposable: Live) -> None:
    """Names that others have are not touched, and what a run makes is gone."""
    with disposable.connect() as session:
        session.execute("create role rowback_acceptance_app")
        session.execute("create database rowback_acceptance")
    before = in_server(disposable)
    ran = first(*naming(disposable, "--json"), **login(disposable))
    assert ran.code == 0, ran.err + ran.out
    assert answers(ran)[2] == "confirmed"
    assert in_server(disposable) == before
    assert disposable.identifier in first.live.lab.engine.instances
    assert left_over(first) == []


def test_it_is_cleared_though_every_session_was_cut(first: Cli, disposable: Live) -> None:
    before, engine = in_server(disposable), first.live.lab.engine
    run = first.start(*naming(disposable), **login(disposable))
    wait_until(lambda: any(name.endswith("-default") for name in engine.instances), "its copies", 60)
    with disposable.connect() as session:
        session.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname like 'rowback_accept%'")
    _, said = run.communicate(timeout=120)
    assert run.returncode == 0, said
    assert in_server(disposable) == before


def test_the_cost_is_that_of_the_named_instance(first: Cli, disposable: Live) -> None:
    attributes = first.live.lab.engine.instances[disposable.identifier].attributes
    attributes.update(DBInstanceClass="db.r5.4xlarge")
    ran = first(*naming(disposable), **login(disposable))
    assert ran.code == 60, ran.err
    assert "nobody says what db.r5.4xlarge with 20 GiB of gp2 in eu-west-1 costs" in ran.err
    assert "help: allow pricing:GetProducts, or name a smaller --instance" in ran.err


def test_an_instance_without_backups_is_refused_before_anything_is_made(first: Cli, disposable: Live) -> None:
    first.live.lab.engine.instances[disposable.identifier].retention_days = 0
    before = in_server(disposable)
    ran = first(*naming(disposable), **login(disposable))
    assert ran.code == 13, ran.err
    assert in_server(disposable) == before


@pytest.mark.parametrize("cost", ["nan", "0", "-1"])
def test_a_ceiling_that_is_none(first: Cli, cost: str) -> None:
    ran = first("acceptance", *CONFIRMED, f"--max-cost={cost}")
    assert ran.code == (60 if cost == "nan" else 2), ran.err
    assert left_over(first) == []


@pytest.mark.parametrize(
    ("profile", "code", "words"),
    [
        ("nonesuch", 33, "the AWS configuration has no profile 'nonesuch'\n  it has 1 profile\n"),
        ("same", 2, "AWS profile 'same' (arn:aws:sts::123456789012:user/moto) is what this run uses itself"),
    ],
)
def test_whose_policy_it_is_is_known_before(first: Cli, tmp_path: Path, profile: str, code: int, words: str) -> None:
    (tmp_path / "credentials").write_text("[same]\naws_access_key_id = lab\naws_secret_access_key = lab\n")
    options = (*CONFIRMED, "--policy-profile", profile)
    ran = first("acceptance", *options, AWS_SHARED_CREDENTIALS_FILE=str(tmp_path / "credentials"))
    assert ran.code == code, ran.err
    assert words in ran.err
    assert left_over(first) == []


def test_credentials_that_may_do_more_prove_nothing_of_the_policy(
    first: Cli, recovery_role: str, tmp_path: Path
) -> None:
    first.live.lab.engine.faults.policies.pop(recovery_role)
    ran = accepting(first, tmp_path, "--json")
    assert answers(ran)[1] == "unknown"
    assert "all 5,000 rows came back, but the credentials of --policy-profile may do more than is printed" in ran.out


def test_a_parameter_group_of_others_is_left_alone(first: Cli) -> None:
    engine = first.live.lab.engine
    engine.parameters["rowback-acceptance"] = theirs = Parameters("rowback-acceptance", "postgres17", "another team's")
    ran = first("acceptance", *CONFIRMED)
    assert ran.code == 23, ran.err
    assert ran.err.startswith(
        "error[case-open]: there is parameter group 'rowback-acceptance' in eu-west-1 already, which no run of this"
        " machine left\n"
    )
    assert engine.parameters.pop("rowback-acceptance") is theirs
    assert theirs.values == {}
    assert left_over(first) == []


@pytest.mark.parametrize(
    ("fault", "answer"),
    [("no-capacity", {3: "unknown", 5: "unknown", 6: "unknown"}), ("restore-error", {3: "unknown"})],
)
def test_trouble_that_has_other_reasons_confirms_nothing(first: Cli, fault: str, answer: dict[int, str]) -> None:
    """And a run that logged in to no copy is no success."""
    account = first.live.lab.account
    switch(account, "fault-add", fault)
    try:
        ran = first("acceptance", *CONFIRMED, "--json")
    finally:
        switch(account, "fault-remove", fault)
    assert ran.code == 40, ran.err
    found = answers(ran)
    assert found[2] != "confirmed"
    assert {number: found[number] for number in answer} == answer
    assert left_over(first) == []


def test_what_was_seen_is_kept_where_the_run_ends_in_an_error(first: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runbooks.acceptance.run_acceptance.WINDOW_WITHIN_S", 0.0)
    first.live.lab.engine.faults.restorable_lag_s = 300.0
    try:
        ran = first("acceptance", *CONFIRMED)
    finally:
        first.live.lab.engine.faults.restorable_lag_s = 0.0
    assert ran.code == 12, ran.err
    (file,) = (first.home / "acceptance").iterdir()
    kept = json.loads(file.read_text())
    assert {each["number"]: each["answer"] for each in kept["findings"]}[13] == "confirmed"
    assert left_over(first) == []
