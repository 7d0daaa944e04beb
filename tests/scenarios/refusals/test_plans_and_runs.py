"""Plans that were altered, second runs, slips, and what shells complete."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from recovery.model.recovery_plan import RecoveryPlan
from recovery.model.target import format_utc
from runbooks.lab.background import pass_a_second
from tests.fix_cli import Cli, Ran, restoring
from tests.fix_lab import Database
from tests.scenarios.refusals.requests import NOTHING, plan


def test_nobody_confirmed_or_typed_another_name(cli: Cli, database: Database, target: datetime) -> None:
    restore = ("restore", cli.live.identifier, "--at", format_utc(target), "--database", database.name)
    for more, said in (((), "nobody confirmed"), (("--confirm", "postgres"), "'postgres' is not its name")):
        ran = cli(*restore, *more)
        assert ran.code == 21
        assert ran.err.endswith(
            f"error[confirmation-missing]: database '{database.name}' is about to be written to and {said}\n"
            f"  {NOTHING}\n  help: read the plan above, then add --confirm {database.name}\n"
        )
    assert cli("cases").out == "no cases yet\n"
    assert database.rows("select count(*) from t") == [(0,)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("plan",), "INSTANCE is missing"),
        (("plan", "x", "--database", "d"), "--at is missing"),
        (("plan", "x", "--at", "2026-11-22T14:20:00Z"), "--database is missing"),
        (("plan", "x", "--profile", "p"), "profile 'p' was asked for but no rowback.toml was found"),
        (("restore", "--plan", "missing.json"), "there is no file missing.json"),
        (("status", "7f3a"), "case '7f3a' does not exist"),
        (("resume", "7f3a"), "case '7f3a' does not exist"),
        (("close", "7f3a"), "case '7f3a' does not exist"),
        (("report", "../../etc"), "case '../../etc' does not exist"),
    ],
)
def test_usage(cli: Cli, arguments: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(cli.home))
    ran = cli(*arguments)
    assert ran.code in (2, 18, 19)
    assert message in ran.err
    assert ran.err.startswith("error[")


def test_a_plan_that_was_tampered_with(cli: Cli, database: Database, target: datetime) -> None:
    assert plan(cli, database.name, target, "--out", "p.json").code == 0
    good = json.loads(Path("p.json").read_text())

    def refused(change: dict[str, Any]) -> Ran:
        Path("p.json").write_text(json.dumps({**good, **change}))
        with contextlib.suppress(ValueError):  # a forger who knows how digests are made
            changed = RecoveryPlan.model_validate({k: v for k, v in {**good, **change}.items() if k != "digest"})
            Path("p.json").write_text(changed.to_file())
        return cli("restore", "--plan", "p.json", "--confirm", database.name)

    Path("p.json").write_text(json.dumps({**good, "database": "billing"}))
    forged = cli("restore", "--plan", "p.json", "--confirm", "billing")
    assert forged.code == 19
    assert "it was altered after it was made: its digest does not fit" in forged.err
    beside = cli("restore", "--plan", "p.json", "docs-prod", "--database", "billing")
    assert beside.code == 2
    assert "--plan says what to restore; INSTANCE, --database beside it would be ignored" in beside.err
    assert refused({"surprise": 1}).code == 19
    assert "surprise: Extra inputs are not permitted" in refused({"surprise": 1}).err
    other = {**good["source"], "resource_id": "db-OTHER"}
    ran = refused({"source": other})
    assert ran.code == 22
    assert f"'{cli.live.identifier}' is another instance now" in ran.err
    ran = refused({"identity": {**good["identity"], "database_oid": 1}})
    assert ran.code == 22
    assert "is another database now" in ran.err
    assert database.rows("select count(*) from t") == [(0,)]


def test_a_target_before_the_rows_existed_is_no_success(cli: Cli, database: Database) -> None:
    database.run("create table t (n int)")
    target = pass_a_second()
    database.run("insert into t values (1)", "truncate t")
    ran = cli(*restoring(cli, database, target))
    assert ran.code == 16
    assert f"error[nothing-at-target]: at {format_utc(target)} all 1 tables in scope were empty already" in ran.err
    case = json.loads(cli("cases", "--json").out)[0]["case"]
    assert f"copy 'rowback-{case}' may still be running and costs money" in ran.err
    assert f"help: rowback close {case}, then plan again with an earlier --at" in ran.err
    closed = cli("close", case)
    assert (closed.code, closed.out) == (0, f"case {case}: closed without change\n")


def test_schema_drift_is_refused_before_anything_is_written(cli: Cli, database: Database, target: datetime) -> None:
    database.run("alter table t add added text", "alter table t alter n type timestamptz using now()")
    ran = cli(*restoring(cli, database, target))
    assert ran.code == 25
    assert (
        "\n  public.t: column n (integer → timestamp with time zone): whether its values are still the same depends on"
        " the settings under which it was changed\n" in ran.err
    )
    assert "  nothing was written to the original\n" in ran.err
    case = json.loads(cli("cases", "--json").out)[0]["case"]
    assert cli("close", case[-4:]).code == 0


def test_a_second_run_on_the_same_target(cli: Cli, database: Database, target: datetime, tmp_path: Path) -> None:
    restore = restoring(cli, database, target)
    cli.live.lab.engine.faults.next_restores.append("storage-full")
    first = cli(*restore)
    assert first.code == 50
    case = json.loads(cli("cases", "--json").out)[0]["case"]
    second = cli(*restore)
    assert second.code == 23
    assert f"copy 'rowback-{case}' of '{cli.live.identifier}' exists already for database" in second.err
    planned = cli("plan", *restore[1:-2], "--out", str(tmp_path / "plan.json"))
    assert planned.code == 0
    assert planned.err.endswith(
        f"copy 'rowback-{case}' of '{cli.live.identifier}' exists already for database"
        f" '{database.name}' (case {case}, storage-full); until it is ended, this plan is refused\n"
        f"next: continue it: rowback resume {case}; or give it up: rowback close {case}"
        " (on the machine that opened it)\n"
    )
    assert cli("restore", "--plan", str(tmp_path / "plan.json")).code == 23
    elsewhere = cli(*restore, ROWBACK_HOME=str(cli.home / "another-machine"))
    assert elsewhere.code == 23
    del cli.live.lab.engine.instances[f"rowback-{case}"]  # as if somebody removed it by hand
    third = cli(*restore)
    assert third.code == 23
    assert third.err.endswith(
        f"error[case-open]: case {case} for database '{database.name}' of '{cli.live.identifier}' is paused\n"
        "  no second case was opened, nothing was created\n"
        f"  help: continue it: rowback resume {case}; or give it up: rowback close {case}\n"
    )
    assert cli("close", case).code == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ("restor",),
            "error[usage]: 'rowback' has no command 'restor'\n  nearest names: restore, report, resume\n"
            "  nothing was created, nothing was written\n  help: rowback restore --help\n",
        ),
        (
            ("runbook", "sho"),
            "error[usage]: 'rowback runbook' has no command 'sho'\n  nearest names: show\n"
            "  nothing was created, nothing was written\n  help: rowback runbook show --help\n",
        ),
        (
            ("plan", "--colour"),
            "error[usage]: no such option '--colour'. Did you mean '--out'?\n"
            "  nothing was created, nothing was written\n"
            "  help: every option: rowback plan --help\n",
        ),
        (
            ("status",),
            "error[usage]: CASE is missing, and there is no case on this machine\n"
            "  nothing was created, nothing was written\n"
            "  help: a case begins with rowback restore, or rowback open; the machine that opened one has it\n",
        ),
        (
            ("restore", "--plan", "gone.json"),
            "error[plan-unreadable]: there is no file gone.json\n"
            "  nothing was created, nothing was written\n"
            "  help: make a plan, which says where it is written: rowback plan\n",
        ),
    ],
)
def test_a_slip_of_the_pen(cli: Cli, arguments: tuple[str, ...], told: str) -> None:
    ran = cli(*arguments)
    assert (ran.code, ran.out, ran.err) == (19 if "plan-unreadable" in told else 2, "", told)


@pytest.mark.parametrize("verb", ["status", "report", "close", "diff", "undo", "verify", "resume"])
def test_which_case_is_asked_with_the_cases(cli: Cli, database: Database, target: datetime, verb: str) -> None:
    opened = cli("open", cli.live.identifier, "--at", format_utc(target), "--database", database.name)
    case = opened.out.strip()
    ran = cli(verb)
    assert ran.code == 2
    assert ran.err.startswith("error[usage]: CASE is missing\n  case ")
    assert re.search(rf"\n  {case}  {cli.live.identifier} +{database.name} +20", ran.err)
    assert ran.err.endswith(
        f"  nothing was created, nothing was written\n  help: the newest open one: rowback {verb} {case}\n"
    )
    assert cli("close", case).code == 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_verbs_and_cases(
    cli: Cli, database: Database, target: datetime, shell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = cli("completion", shell)
    assert script.code == 0
    assert "_ROWBACK_COMPLETE" in script.out
    opened = cli("open", cli.live.identifier, "--at", format_utc(target), "--database", database.name)
    case = opened.out.strip()
    at = {"COMP_WORDS": f"rowback status {case[:4]}", "COMP_CWORD": "2" if shell != "fish" else case[:4]}
    completed, _ = cli.start("status", _ROWBACK_COMPLETE=f"{shell}_complete", **at).communicate(timeout=60)
    assert case in completed
    assert cli("close", case).code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "id"),
    [
        (("plan", "nowhere", "--at", "2026-11-22T14:20:00Z", "--database", "d"), 10, "instance-unknown"),
        (("plan", "nowhere", "--at", "2026-11-22T14:20:00", "--database", "d"), 2, "target-time-no-offset"),
        (("status", "7f3a"), 18, "case-unknown"),
        (("diff",), 2, "usage"),
        (("find", "--log", "/nonexistent.log"), 2, "log-unreadable"),
    ],
)
def test_with_json_an_error_is_a_document_too(cli: Cli, arguments: tuple[str, ...], code: int, id: str) -> None:
    ran = cli(*arguments, "--json")
    said = json.loads(ran.out)["error"]
    assert (ran.code, said["exit_code"], said["id"]) == (code, code, id)
    assert ran.err.startswith(f"error[{id}]: {said['fact']}\n")
    assert [line.strip() for line in ran.err.splitlines() if line.startswith("  help: ")] == [
        f"help: {line}" for line in said["help"]
    ]


def test_an_answer_that_ends_in_an_error_stays_one_document(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "postgresql.log").write_text("2026-11-22 14:00:00 UTC::a@b:[7]:LOG:  statement: select 1\n")
    ran = cli("find", "--log", str(tmp_path / "postgresql.log"), "--json")
    assert (ran.code, json.loads(ran.out)["suspects"]) == (43, [])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("runbook", "run", "trunc"), "truncated-tables"),
        (("drill", "bad-up"), "bad-update"),
        (("find", "--profile", "st"), "staging"),
        (("plan", ""), None),
        (("wait", "docs-p"), "docs-production"),
    ],
)
def test_the_shell_completes_books_profiles_and_instances(
    cli: Cli, tmp_path: Path, words: tuple[str, ...], expected: str | None
) -> None:
    """None: the instance of the lab."""
    (tmp_path / "rowback.toml").write_text('[profiles.staging]\ninstance = "docs-production"\n')
    said = subprocess.run(
        [sys.executable, "-m", "recovery.cli"],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            **cli.environment,
            "ROWBACK_CONFIG": str(tmp_path / "rowback.toml"),
            "_ROWBACK_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(["rowback", *words]),
            "COMP_CWORD": str(len(words)),
        },
    )
    assert f"plain,{expected or cli.live.identifier}" in said.stdout.splitlines(), said
