"""What a question is about, and a time that is given instead of the proposed one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fix_cli import Cli
from tests.fix_lab import Database
from tests.scenarios.runbook.book_runs import FRONT, Terminal, given, the_run, write

pytestmark = pytest.mark.drill


LOOK = (
    FRONT.replace("  target: {type: time}\n", "")
    + """
```rowback id=find timeout=1m save=target=proposal.target_time
rowback find --log made.log --log-line-prefix '%t:%r:%u@%d:[%p]:' --json
```

- [ ] The first statement is the one that was reported.

```sh id=tell timeout=1m reads
echo "back to $RUNBOOK_TARGET"
```
"""
)


def said_in_log(second: int, text: str, pid: int = 7) -> str:
    return f"2026-11-22 14:00:{second:02} UTC:127.0.0.1(5):app@db:[{pid}]:LOG:  {text}\n"


def wrote_log(*lines: str) -> None:
    began = said_in_log(0, "connection authorized: user=app database=db")
    Path("made.log").write_text(began + "".join(lines))


def test_what_a_question_is_about_stands_on_the_screen(cli: Cli, database: Database) -> None:
    """The table that `find` makes for people, the time that was taken from it, and commands with their values."""
    wrote_log(said_in_log(5, "statement: truncate people"), said_in_log(6, "statement: select 1"))
    write(LOOK)
    person = Terminal(cli, "runbook", "run", "book.md", *given(cli, database, "")[:4])
    person.until("The first statement is the one that was reported. [y/N]: ")
    assert "  │ 1. committed: TRUNCATE people" in person.shown
    assert "  │ target time 2026-11-22T14:00:05Z, confidence high" in person.shown
    assert "  │ target = 2026-11-22T14:00:05Z" in person.shown
    person.type("n")
    assert person.end() == 56
    run_id = the_run(cli)["run"]
    assert f"or say another target time: rowback runbook resume {run_id} -p at=TIME" in person.shown
    again = Terminal(cli, "runbook", "resume", run_id, "-p", "at=2026-11-22T13:59:00+00:00")
    again.until("The first statement is the one that was reported. [y/N]: ")
    again.type("y")
    again.until("Run step 'tell'? [y/N]: ")
    again.type("y")
    assert again.end() == 0
    assert "  │ back to 2026-11-22T13:59:00Z" in again.shown


def two_incidents() -> None:
    """TRUNCATE of people at :05, and from another session a DELETE of all orders at :09."""
    wrote_log(
        said_in_log(5, "statement: truncate people"),
        said_in_log(6, "statement: select 1"),
        said_in_log(7, "connection authorized: user=app database=db", 8),
        said_in_log(9, "statement: delete from orders", 8),
        said_in_log(10, "statement: select 1", 8),
    )


def test_of_several_incidents_none_is_taken_unasked(cli: Cli, database: Database) -> None:
    two_incidents()
    write(LOOK)
    looked = ("--mode", "auto", "--confirmed", "the-first-statement-is-the")
    ran = cli("runbook", "run", "book.md", *given(cli, database, "")[:4], *looked)
    assert ran.code == 56
    assert "2 incidents are possible, and one has to be said with -p at=TIME: 2026-11-22T14:00:05Z before TRUNCATE" in (
        ran.err
    )
    again = cli("runbook", "resume", the_run(cli)["run"], "-p", "at=2026-11-22T14:00:09Z")
    assert (again.code, again.err.count("│ back to 2026-11-22T14:00:09Z")) == (0, 1), again.err


def test_a_time_that_was_said_needs_no_log_and_a_wrong_one_is_refused(cli: Cli, database: Database) -> None:
    write(LOOK)
    begin = (
        "runbook",
        "run",
        "book.md",
        *given(cli, database, "")[:4],
        "--mode",
        "auto",
        "--confirmed",
        "the-first-statement-is-the",
    )
    assert (ran := cli(*begin, "-p", "at=yesterday")).code == 2, ran.err
    assert not (cli.home / "runs").exists()
    ran = cli(*begin, "-p", "at=2026-11-22T14:00:09Z")
    assert ran.code == 0, ran.err
    assert "target = 2026-11-22T14:00:09Z (as was said)" in ran.err


def test_another_time_asks_for_the_steps_that_went_by_the_old_one(cli: Cli, database: Database) -> None:
    wrote_log(said_in_log(5, "statement: truncate people"), said_in_log(6, "statement: select 1"))
    write(LOOK + "\n```sh id=fails timeout=1m reads\nfalse\n```\n")
    begin = (
        "runbook",
        "run",
        "book.md",
        *given(cli, database, "")[:4],
        "--mode",
        "auto",
        "--confirmed",
        "the-first-statement-is-the",
    )
    assert cli(*begin).code == 56
    run_id = the_run(cli)["run"]
    ran = cli("runbook", "resume", run_id, "-p", "at=2026-11-22T14:00:01Z")
    assert ran.err.splitlines() == [
        f"error[usage]: step 'tell' of run {run_id} went by another target: 2026-11-22T14:00:05Z",
        "  nothing was done",
        f"  help: do it and all behind it again: rowback runbook resume {run_id} --from tell"
        " -p target=2026-11-22T14:00:01Z",
    ]
    again = cli("runbook", "resume", run_id, "--from", "tell", "-p", "target=2026-11-22T14:00:01Z")
    assert "│ back to 2026-11-22T14:00:01Z" in again.err


def test_another_time_looks_for_the_tables_anew(cli: Cli, database: Database) -> None:
    """Of two incidents the other one: its time, and its tables, not those of the first."""
    two_incidents()
    saved = "save=target=proposal.target_time"
    write(
        LOOK.replace(saved, f"{saved} save=tables=proposal.tables").replace(
            "back to $RUNBOOK_TARGET", "back to $RUNBOOK_TARGET tables $RUNBOOK_TABLES"
        )
    )
    person = Terminal(cli, "runbook", "run", "book.md", *given(cli, database, "")[:4], "-p", "at=2026-11-22T14:00:05Z")
    person.until("The first statement is the one that was reported. [y/N]: ")
    assert "  │ tables = public.people" in person.shown
    person.type("n")
    assert person.end() == 56
    again = Terminal(cli, "runbook", "resume", the_run(cli)["run"], "-p", "at=2026-11-22T14:00:09Z")
    again.until("The first statement is the one that was reported. [y/N]: ")
    again.type("y")
    again.until("Run step 'tell'? [y/N]: ")
    again.type("y")
    assert again.end() == 0
    assert "  │ back to 2026-11-22T14:00:09Z tables public.orders" in again.shown, again.shown


def test_a_log_without_a_proposal_is_told_as_that(cli: Cli, database: Database) -> None:
    wrote_log(said_in_log(5, "statement: drop view v"), said_in_log(6, "statement: select 1"))
    write(LOOK)
    ran = cli(
        "runbook",
        "run",
        "book.md",
        *given(cli, database, "")[:4],
        "--mode",
        "auto",
        "--confirmed",
        "the-first-statement-is-the",
    )
    assert (ran.code, "Traceback" in ran.err) == (56, False), ran.err
    assert "its output has no proposal.target_time" in ran.err
