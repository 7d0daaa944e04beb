"""Killed and interrupted anywhere, a run goes on and restores once."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.fix_cli import Cli, the_case
from tests.fix_lab import Database, wait_until
from tests.scenarios.runbook.book_runs import FRONT, RESTORE, given, kill, people, reached, run, the_run, write

pytestmark = pytest.mark.drill


def test_a_value_never_becomes_an_option(cli: Cli, database: Database, target: str) -> None:
    write(
        FRONT.replace("parameters:", "parameters:\n  case: {type: text}")
        + "\n```rowback id=a timeout=1m\nrowback report $CASE\n```\n"
    )
    refused = run(cli, database, target, "-p", "case=--help")
    assert refused.code == 56
    assert "the value of $CASE begins with '-' and would be taken for an option: --help" in refused.err


def test_answers_are_remembered_and_no_other_is_taken(cli: Cli, database: Database, target: str) -> None:
    write(
        FRONT + "\n```sh id=a timeout=1m reads\ntest -e go\n```\n\n- [ ] It is so.\n\n```ask id=b\nB?\n```\n"
        '\n```sh id=c timeout=1m reads\necho "$RUNBOOK_B" > said\n```\n'
    )
    asked = [*given(cli, database, target), "-p", "b=bee", "--mode", "auto", "--confirmed", "it-is-so"]
    assert cli("runbook", "run", "book.md", *asked).code == 56
    id = the_run(cli)["run"]
    other = cli("runbook", "resume", id, "-p", "instance=another")
    assert other.code == 2
    assert f"error[usage]: -p instance answers no question of run {id}; its parameters are bound\n" in other.err
    Path("go").touch()
    assert cli("runbook", "resume", id).code == 0
    assert Path("said").read_text() == "bee\n"


STEPS = ("count", "they-are-gone-indeed", "restore", "tell", "look")


@pytest.mark.parametrize(
    "moment", [*(f"{event} {step}" for step in STEPS for event in ("start", "done")), "in restore"]
)
def test_killed_anywhere_it_goes_on_and_restores_once(cli: Cli, database: Database, target: str, moment: str) -> None:
    """kill -9 of the run and of what it started, at every record; in the restore as well."""
    write(RESTORE)
    process = cli.start(
        "runbook",
        "run",
        "book.md",
        *given(cli, database, target),
        "--mode",
        "auto",
        "--confirmed",
        "they-are-gone-indeed",
    )
    try:
        wait_until(lambda: reached(cli, moment) or process.poll() is not None, moment)
    finally:
        kill(process)
    if the_run(cli)["outcome"] == "open":
        done = cli("runbook", "resume", the_run(cli)["run"], "--confirmed", "they-are-gone-indeed")
        assert done.code == 0, done.err
    assert people(database) == 2
    assert the_case(cli)["outcome"] == "recovered", "one case, not two"
    assert [name for name in cli.live.lab.engine.instances if name.startswith("rowback-")] == []
    assert the_run(cli)["outcome"] == "finished"


def test_ctrl_c_reaches_the_command_and_says_how_to_go_on(cli: Cli, database: Database, target: str) -> None:
    write(RESTORE)
    process = cli.start(
        "runbook",
        "run",
        "book.md",
        *given(cli, database, target),
        "--mode",
        "auto",
        "--confirmed",
        "they-are-gone-indeed",
    )
    wait_until(lambda: reached(cli, "in restore") or process.poll() is not None, "the restore")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    id = the_run(cli)["run"]
    if process.returncode == 130:
        assert f"interrupted\n  run {id} stands at 'restore'\n  help: rowback runbook resume {id}, or" in err
        done = cli("runbook", "resume", id, "--confirmed", "they-are-gone-indeed")
        assert done.code == 0, done.err
    assert people(database) == 2
    assert the_case(cli)["outcome"] == "recovered"
