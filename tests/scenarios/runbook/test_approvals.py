"""Who has to agree before it goes on, and who is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fix_cli import Cli
from tests.fix_lab import Database
from tests.scenarios.runbook.book_runs import FRONT, Terminal, given, run, the_run, write

pytestmark = pytest.mark.drill


def test_an_approval_by_another_user(
    cli: Cli, database: Database, target: str, users: dict[str, dict[str, str]]
) -> None:
    write(FRONT + "\n```approve id=go\nIs it right?\n```\n\n```sh id=a timeout=1m reads\necho a >> trace\n```\n")
    waiting = run(cli, database, target, **users["carl"])
    assert waiting.code == 61
    id = the_run(cli)["run"]
    assert f"error[approval-missing]: run {id} waits for another person at 'go': Is it right?\n" in waiting.err
    assert (
        f"another person: rowback runbook approve {id} go --by NAME; then: rowback runbook resume {id}\n" in waiting.err
    )
    oneself = cli("runbook", "approve", id, "go", "--by", "dora", **users["carl"])
    assert (oneself.code, oneself.out) == (61, "")
    assert cli("runbook", "resume", id, **users["carl"]).code == 61
    wrong = cli("runbook", "approve", id, "a", "--by", "dora", **users["dora"])
    assert f"error[usage]: 'a' is no approval of run {id}\n  it has: go\n" in wrong.err
    given = cli("runbook", "approve", id, "go", "--by", "dora", **users["dora"])
    assert given.out.startswith(f"'go' of run {id} is approved by 'dora' (")
    assert not Path("trace").exists()
    assert cli("runbook", "resume", id, **users["carl"]).code == 0
    assert Path("trace").read_text() == "a\n"


def test_a_person_at_a_terminal_is_asked_before_each_write(cli: Cli, database: Database, target: str) -> None:
    write(
        FRONT + "\n```ask id=colour default=red type=choice choices=red,blue\nWhich colour?\n```\n\n"
        "- [ ] It is so.\n\n"
        '```sh id=look timeout=1m reads\necho "$RUNBOOK_COLOUR" > seen\n```\n\n'
        '```sh id=paint timeout=1m undo="none: paint stays"\necho painted >> seen\n```\n'
    )
    person = Terminal(cli, "runbook", "run", "book.md", *given(cli, database, target))
    person.until("Which colour? [red]: ")
    person.type("bleu")
    person.until("Which colour? [red]: ")
    assert "'bleu' is not one of red, blue, which colour is to be" in person.shown
    person.type("blue")
    person.until("[ ] It is so. [y/N]: ")
    person.type("y")
    person.until("Run step 'look'? [y/N]: ")
    assert 'bash -euo pipefail -c echo "$RUNBOOK_COLOUR" > seen' in person.shown, "nothing checks what a script does"
    person.type("y")
    person.until("Run step 'paint'? [y/N]: ")
    assert "bash -euo pipefail -c echo painted >> seen" in person.shown
    assert Path("seen").read_text() == "blue\n"
    person.type("n")
    assert person.end() == 56
    assert "paused at step 'paint': it was not let through" in person.shown
    again = Terminal(cli, "runbook", "resume", the_run(cli)["run"])
    again.until("Run step 'paint'? [y/N]: ")
    again.type("y")
    assert again.end() == 0
    assert Path("seen").read_text() == "blue\npainted\n"


def test_what_was_approved_cannot_be_changed_left_out_or_gone_round(
    cli: Cli, database: Database, target: str, users: dict[str, dict[str, str]]
) -> None:
    body = "\n```approve id=go\nIs it right?\n```\n\n```sh id=a timeout=1m reads\necho {} >> trace\n```\n"
    write(FRONT + body.format("good"))
    run(cli, database, target, **users["carl"])
    id = the_run(cli)["run"]
    skipped = cli("runbook", "resume", id, "--skip", "go", "--reason", "no time", **users["carl"])
    assert skipped.code == 61
    assert "error[approval-missing]: 'go' is an approval, which cannot be left out\n" in skipped.err
    write(FRONT + "\n```sh id=a timeout=1m reads\necho bad >> trace\n```\n")
    removed = cli("runbook", "resume", id, "--rebase", **users["carl"])
    assert "the new text has no step 'go'" in removed.err
    assert cli("runbook", "approve", id, "go", "--by", "dora", **users["dora"]).code == 0
    write(FRONT + body.format("bad"))
    rebased = cli("runbook", "resume", id, "--rebase", **users["carl"])
    assert rebased.code == 61, "the approval was of the other text"
    assert not Path("trace").exists()
    (directory,) = (cli.home / "runs").iterdir()
    (directory / "book.md").write_text(FRONT + body.format("worse"))
    altered = cli("runbook", "resume", id, **users["carl"])
    assert altered.code == 62
    assert f"the text that run {id} goes by, was altered\n" in altered.err
