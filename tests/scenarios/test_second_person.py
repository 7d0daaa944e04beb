"""What another person approved is carried out; without one nothing is written and nothing is taken back."""

from __future__ import annotations

import json
import re
from pathlib import Path

import boto3
import pytest

from recovery.errors import EXIT_CODES, ErrorId
from recovery.model.target import format_utc
from recovery.store.journal import read_records
from runbooks.lab.background import pass_a_second
from runbooks.lab.lab_server import REGION, Lab
from tests.fix_cli import Cli, restoring, the_case
from tests.fix_lab import Database
from tests.scenarios.fix_planned import TABLE, emptied, planned

People = dict[str, dict[str, str]]


@pytest.fixture(scope="session")
def people(lab: Lab) -> People:
    """AWS credentials of the users ann and bob, and of two sessions of one role."""
    address = {"endpoint_url": f"http://127.0.0.1:{lab.port}", "region_name": REGION, "aws_access_key_id": "lab"}
    iam, sts = (boto3.client(name, aws_secret_access_key="lab", **address) for name in ("iam", "sts"))
    found = {}
    for name in ("ann", "bob"):
        iam.create_user(UserName=name)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        found[name] = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    for name in ("first", "second"):
        key = sts.assume_role(RoleArn="arn:aws:iam::123456789012:role/oncall", RoleSessionName=name)["Credentials"]
        found[f"role, {name}"] = {
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
            "AWS_SESSION_TOKEN": key["SessionToken"],
        }
    return found


def wanting_approval(extra: str = "") -> tuple[str, ...]:
    Path("rowback.toml").write_text(f"[profiles.p]\napprovals_needed = 1\n{extra}")
    return ("--profile", "p")


def approvals(cli: Cli) -> list[tuple[str, str]]:
    (directory,) = (cli.home / "cases").iterdir()
    seconded = [record.data for record in read_records(directory) if record.event == "plan.seconded"]
    return [(each["by"], each["person"]["aws"]) for each in seconded]


def test_a_plan_that_another_approved_is_carried_out(cli: Cli, database: Database, people: People) -> None:
    """The plan remembers its profile: nobody has to name it again, and nobody can leave it out."""
    planned(cli, database, emptied(database), "--out", "p.json", *wanting_approval())
    digest = json.loads(Path("p.json").read_text())["digest"]
    other = cli("approve", "p.json", "0badc0de", "--by", "ann", **people["ann"])
    assert (other.code, other.err.splitlines()[-3:]) == (
        EXIT_CODES[ErrorId.PLAN_FACTS_CHANGED],
        [
            f"error[plan-facts-changed]: p.json is plan {digest[:8]}, not 0badc0de",
            "  nothing was approved",
            f"  help: ask which of them is meant; then: rowback approve p.json {digest[:8]} --by NAME",
        ],
    )
    seen = cli("approve", "p.json", digest[:8], "--by", "ann", **people["ann"])
    assert seen.code == 0, seen.err
    who = r"\(\S+, arn:aws:iam::123456789012:user/ann\)"
    assert re.fullmatch(rf"plan [0-9a-f]{{8}} is approved by 'ann' {who}\n", seen.out)
    assert "public.people  empty" in seen.err, "the plan is shown to whoever approves it"
    done = cli("restore", "--plan", "p.json", "--confirm", database.name, **people["bob"])
    assert done.code == 0, done.err
    assert approvals(cli) == [("ann", "arn:aws:iam::123456789012:user/ann")]
    assert database.rows("select count(*) from people") == [(2,)]
    assert re.search(rf"approved +by 'ann' {who}\n", done.out)


@pytest.mark.parametrize("how", ["nobody", "oneself", "another session of one role", "of another plan", "AWS unknown"])
def test_without_another_nothing_is_written_and_the_case_waits(
    cli: Cli, database: Database, people: People, how: str
) -> None:
    target = emptied(database)
    planned(cli, database, target, "--out", "p.json", *wanting_approval())
    opener = "role, first" if "session" in how else "bob"
    match how:
        case "oneself":
            cli("approve", "p.json", "--by", "not bob at all", **people["bob"])
        case "another session of one role":
            cli("approve", "p.json", "--by", "somebody else", **people["role, second"])
        case "of another plan":
            planned(cli, database, target, "--out", "other.json", "--transport", "copy")
            cli("approve", "other.json", "--by", "ann", **people["ann"])
            (given,) = Path().glob("other.approved-*.json")
            given.rename("p.approved-ann.json")
        case "AWS unknown":
            cli("approve", "p.json", "--by", "ann", AWS_ENDPOINT_URL_STS="http://127.0.0.1:1", **people["ann"])
    stopped = cli("restore", "--plan", "p.json", "--confirm", database.name, **people[opener])
    assert stopped.code == 61
    assert re.search(
        r"error\[approval-missing\]: 1 approval by others of what is written is wanted; repair plan [0-9a-f]{8} has"
        r" those of nobody\n  the case was opened by \S+, \S+; others are told apart by principal \(approvals_by\)\n",
        stopped.err,
    )
    assert database.rows("select count(*) from people") == [(0,)]
    case = the_case(cli)["case"]
    digest = cli("diff", case, "--digest").out.strip()
    again = cli("approve", case, digest[:8], "--by", "me again", **people[opener])
    assert (again.code, again.out) == (61, "")
    assert again.err.startswith("error[approval-missing]: 'me again' (")
    wrong = cli("approve", case, "00000000", "--by", "ann", **people["ann"])
    assert wrong.code == 22
    assert wrong.err.startswith(
        f"error[plan-facts-changed]: case {case} cannot be approved: its repair plan is {digest[:8]}, not 00000000\n"
    )
    late = cli("approve", "p.json", "--by", "ann", **people["ann"])
    assert late.code == 23, "the case would not hear of it"
    assert cli("approve", case, digest[:8], "--by", "ann", **people["ann"]).code == 0
    resumed = cli("resume", case, **people[opener])
    assert resumed.code == 0, resumed.err
    assert database.rows("select count(*) from people") == [(2,)]
    over = cli("approve", case, digest[:8], "--by", "ann", **people["ann"])
    assert over.err.startswith(f"error[plan-facts-changed]: case {case} cannot be approved: it is over: recovered\n")


def test_taking_back_needs_another_as_well(cli: Cli, database: Database, people: People) -> None:
    planned(cli, database, emptied(database), "--out", "p.json", *wanting_approval())
    cli("approve", "p.json", "--by", "ann", **people["ann"])
    assert cli("restore", "--plan", "p.json", "--confirm", database.name, **people["bob"]).code == 0
    case = the_case(cli)["case"]
    alone = cli("undo", case, "--confirm", database.name, **people["bob"])
    assert alone.code == 61
    assert f"another person: rowback approve {case} undo --by NAME; then: rowback undo {case} --confirm" in alone.err
    assert database.rows("select count(*) from people") == [(2,)]
    assert cli("approve", case, "undo", "--by", "ann", **people["ann"]).code == 0
    assert cli("undo", case, "--confirm", database.name, **people["bob"]).code == 0
    assert database.rows("select count(*) from people") == [(0,)]
    assert cli("undo", case, "--confirm", database.name, **people["bob"]).code == 61, "one approval, one undo"


def test_dropping_what_was_made_anew_needs_another_as_well(cli: Cli, database: Database, people: People) -> None:
    database.run(*TABLE)
    target = pass_a_second()
    database.run("drop table people")
    wanting_approval()
    recreating = ("--mode", "recreate", "--profile", "p")
    stopped = cli(*restoring(cli, database, target, *recreating), **people["bob"])
    assert stopped.code == 61, stopped.err
    case = the_case(cli)["case"]
    digest = cli("diff", case, "--digest").out.strip()[:8]
    assert cli("approve", case, digest, "--by", "ann", **people["ann"]).code == 0
    go_on = f"rowback apply {case} {digest} --confirm {database.name}"
    assert f"rowback approve {case} {digest} --by NAME; then: {go_on}\n" in stopped.err
    applied = cli(*go_on.split()[1:], **people["bob"])
    assert applied.code == 0, applied.err
    alone = cli("undo", case, "--confirm", database.name, **people["bob"])
    assert alone.code == 61, alone.err
    assert f"another person: rowback approve {case} undo --by NAME; then: rowback undo {case} --confirm" in alone.err
    assert database.rows("select count(*) from people") == [(2,)]
    assert cli("approve", case, "undo", "--by", "ann", **people["ann"]).code == 0
    assert cli("undo", case, "--confirm", database.name, **people["bob"]).code == 0
    assert database.rows("select to_regclass('people')::text") == [(None,)]


def test_row_by_row_names_the_command_that_goes_on(cli: Cli, database: Database, people: People) -> None:
    database.run(*TABLE)
    target = format_utc(pass_a_second())
    database.run("delete from people where id = 1")
    planned(cli, database, target, "--out", "p.json", *wanting_approval())
    stopped = cli("restore", "--plan", "p.json", "--confirm", database.name, **people["bob"])
    assert stopped.code == 61
    case = the_case(cli)["case"]
    digest = cli("diff", case, "--digest").out.strip()[:8]
    go_on = f"rowback apply {case} {digest} --confirm {database.name}"
    assert f"rowback approve {case} {digest} --by NAME; then: {go_on}\n" in stopped.err
    assert cli("approve", case, digest, "--by", "ann", **people["ann"]).code == 0
    assert cli(*go_on.split()[1:], **people["bob"]).code == 0
    assert database.rows("select count(*) from people") == [(2,)]
    assert cli("close", case).code == 0


@pytest.mark.parametrize(("by", "code"), [("session", 0), ("account", 61)])
def test_a_site_says_by_what_people_are_told_apart(
    cli: Cli, database: Database, people: People, by: str, code: int
) -> None:
    planned(cli, database, emptied(database), "--out", "p.json", *wanting_approval(f'approvals_by = "{by}"\n'))
    cli("approve", "p.json", "--by", "ann", **people["role, second"])
    done = cli("restore", "--plan", "p.json", "--confirm", database.name, **people["role, first"])
    assert done.code == code, done.err
    if code:
        cli("close", the_case(cli)["case"])


def test_approvals_that_cannot_be_read_are_none(cli: Cli, database: Database) -> None:
    planned(cli, database, emptied(database), "--out", "p.json", *wanting_approval())
    Path("p.approved-ann.json").write_text("{}")
    found = cli("restore", "--plan", "p.json", "--confirm", database.name)
    assert found.code == 19
    assert found.err.splitlines()[-3:] == [
        "error[plan-unreadable]: p.approved-ann.json holds no approval",
        "  nothing was created, nothing was written",
        "  help: have it given again: rm p.approved-ann.json; rowback approve p.json --by NAME",
    ]


def test_an_approval_that_cannot_be_kept_is_none(cli: Cli, database: Database) -> None:
    planned(cli, database, emptied(database), "--out", "p.json", *wanting_approval())
    given = cli("approve", "p.json", "--by", "a" * 300)
    assert given.code == 2
    assert "error[usage]: " in given.err
    assert "cannot be written: File name too long\n  nothing was approved\n" in given.err
