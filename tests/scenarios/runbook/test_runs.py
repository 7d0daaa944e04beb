"""A run from its beginning to its end, and what stops it on the way."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from recovery.store.journal import read_records
from tests.fix_cli import Cli
from tests.fix_lab import Database, wait_until
from tests.scenarios.runbook.book_runs import FRONT, RESTORE, given, logs, people, run, the_run, write

pytestmark = pytest.mark.drill


def events(cli: Cli) -> list[tuple[str, str | None]]:
    (directory,) = (cli.home / "runs").iterdir()
    return [(record.event, record.step) for record in read_records(directory) if record.event != "step.child"]


def test_a_run_from_beginning_to_end(cli: Cli, database: Database, target: str) -> None:
    write(RESTORE)
    done = run(cli, database, target)
    assert done.code == 0, done.err
    assert people(database) == 2
    assert events(cli) == [
        ("run.opened", None),
        ("step.start", "count"),
        ("step.done", "count"),
        ("step.done", "they-are-gone-indeed"),
        ("step.start", "restore"),
        ("step.done", "restore"),
        ("step.start", "tell"),
        ("step.done", "tell"),
        ("step.start", "look"),
        ("step.done", "look"),
        ("run.closed", None),
    ]
    assert logs(cli)["04-tell.out"] == "2 people are back, there were 0\n"
    assert json.loads(logs(cli)["03-restore.out"])["outcome"] == "recovered"
    assert "prove the result" in logs(cli)["03-restore.err"]
    assert the_run(cli)["outcome"] == "finished"


def test_a_preview_reads_and_writes_nothing(cli: Cli, database: Database, target: str) -> None:
    write(RESTORE)
    seen = cli("runbook", "run", "book.md", *given(cli, database, target), "--mode", "preview")
    assert seen.code == 0, seen.err
    assert seen.out.splitlines() == [
        "count: was run: sql select count(*) from people",
        "they-are-gone-indeed: confirm: They are gone indeed.",
        f"restore: would run: rowback restore {cli.live.identifier} --at {target} --database {database.name}"
        f" --confirm {database.name} --json",
        "tell: would run (a script is only run with --run-shell tell): bash -euo pipefail -c"
        ' echo "2 people are back, there were $RUNBOOK_BEFORE"',
        "look: was run, and failed: it gives 0 rows, not 2+",
    ]
    assert seen.err.endswith("preview: 2 statements of this book were run; 2 steps that may write were not\n")
    assert people(database) == 0
    assert cli("cases").out == "no cases yet\n"
    assert cli("runbook", "runs").out == "no runs yet\n"


PLANNED = (
    FRONT
    + """
```rowback id=plan timeout=1m
rowback plan $INSTANCE --at $TARGET --database $DATABASE --wait-for-window 1m --out $RUN_DIR/plan.json
```

```approve id=go
Somebody has read the plan.
```

```sh id=which timeout=1m reads
sha256sum < $RUNBOOK_RUN_DIR/plan.json
```
"""
)


def test_what_was_approved_is_what_the_run_planned(
    cli: Cli, database: Database, target: str, users: dict[str, dict[str, str]]
) -> None:
    """Previews and other runs plan as well meanwhile, in the same directory; each to a place of its own."""
    write(PLANNED)
    waiting = run(cli, database, target, **users["carl"])
    assert waiting.code == 61, waiting.err
    id = the_run(cli)["run"]
    (planned,) = (cli.home / "runs" / id / "files").iterdir()
    text = planned.read_text()
    seen = cli("runbook", "run", "book.md", *given(cli, database, target), "--mode", "preview")
    assert seen.code == 0, seen.err
    assert planned.name == "plan.json"
    assert planned.read_text() == text
    assert sorted(path.name for path in Path().iterdir()) == ["book.md", "home"]
    assert cli("runbook", "approve", id, "go", "--by", "bob", **users["dora"]).code == 0
    assert cli("runbook", "resume", id, **users["carl"]).code == 0
    assert logs(cli)["03-which.out"].split()[0] == hashlib.sha256(text.encode()).hexdigest()


def test_auto_does_not_guess(cli: Cli, database: Database, target: str) -> None:
    write(RESTORE)
    refused = cli("runbook", "run", "book.md", *given(cli, database, target), "--mode", "auto")
    assert (refused.code, refused.out) == (2, "")
    assert "error[usage]: step 'they-are-gone-indeed' needs an answer, and mode auto does not guess\n" in refused.err
    missing = cli("runbook", "run", "book.md", "-p", "instance=x", "--mode", "auto")
    assert missing.code == 2
    assert "error[usage]: parameter 'database' is missing: database\n" in missing.err
    wrong = cli("runbook", "run", "book.md", *given(cli, database, "yesterday"), "--mode", "auto")
    assert "error[target-time-unreadable]: " in wrong.err
    unknown = cli("runbook", "run", "book.md", *given(cli, database, target), "-p", "colour=red", "--mode", "auto")
    assert "error[usage]: runbook 'book' has no parameter 'colour'\n" in unknown.err
    ask = cli("runbook", "run", "book.md", *given(cli, database, target))
    assert "error[usage]: mode ask needs a terminal, and there is none\n" in ask.err
    assert cli("runbook", "runs").out == "no runs yet\n"


def test_a_failed_step_is_mended_by_hand_and_the_run_goes_on(cli: Cli, database: Database, target: str) -> None:
    write(RESTORE)
    database.run("alter table people rename to folk")
    stopped = run(cli, database, target)
    assert stopped.code == 56
    id = the_run(cli)["run"]
    assert (
        f"error[run-paused]: run {id} is paused at step 'count': instance '{cli.live.identifier}', database "
        in stopped.err
    )
    assert f"help: mend it by hand, then: rowback runbook resume {id};" in stopped.err
    assert the_run(cli)["waiting_at"] == "count"
    database.run("alter table folk rename to people")
    done = cli("runbook", "resume", id, "--confirmed", "they-are-gone-indeed")
    assert done.code == 0, done.err
    assert people(database) == 2
    assert events(cli).count(("step.failed", "count")) == 1, "what failed stays in the journal"


def test_a_step_is_left_out_with_a_reason_or_done_again(cli: Cli, database: Database, target: str) -> None:
    write(
        FRONT + "\n```sh id=a timeout=1m reads\necho a >> trace\n```\n\n```sh id=b timeout=1m reads\nfalse\n```\n"
        "\n```sh id=c timeout=1m reads\necho c >> trace\n```\n"
    )
    assert run(cli, database, target).code == 56
    id = the_run(cli)["run"]
    assert cli("runbook", "resume", id, "--skip", "b").code == 2, "not without a reason"
    assert "has no step 'x'" in cli("runbook", "resume", id, "--skip", "x", "--reason", "y").err
    assert cli("runbook", "resume", id, "--from", "a", "--skip", "b", "--reason", "it is broken").code == 0
    assert Path("trace").read_text() == "a\na\nc\n"
    (directory,) = (cli.home / "runs").iterdir()
    assert [r.data for r in read_records(directory) if r.event == "step.skipped"] == [{"reason": "it is broken"}]
    over = cli("runbook", "resume", id)
    assert over.err.startswith(f"error[case-busy]: run {id} is over: finished\n")


def test_a_changed_book_is_refused_unless_rebased(cli: Cli, database: Database, target: str) -> None:
    body = "\n```sh id=a timeout=1m reads\necho a >> trace\n```\n\n```sh id=b timeout=1m reads\n{}\n```\n"
    write(FRONT + body.format("false"))
    assert run(cli, database, target).code == 56
    id = the_run(cli)["run"]
    write(FRONT + body.format("echo b >> trace"))
    changed = cli("runbook", "resume", id)
    assert changed.code == 62
    assert f"book.md was changed since run {id} began\n" in changed.err
    write(FRONT + body.format("echo b >> trace").replace("id=a", "id=z"))
    lost = cli("runbook", "resume", id, "--rebase")
    assert f"error[book-changed]: the new text has no step 'a', which run {id} has done or waits for\n" in lost.err
    untold = "parameters:\n  wait: {type: duration}"
    write(FRONT.replace("parameters:", untold) + body.format("echo $RUNBOOK_WAIT >> trace"))
    unknown = cli("runbook", "resume", id, "--rebase")
    assert f"error[book-changed]: the new text has a parameter 'wait', which run {id} was not told\n" in unknown.err
    write(FRONT.replace("parameters:", untold[:-1] + ", default: 5s}") + body.format("echo $RUNBOOK_WAIT >> trace"))
    assert cli("runbook", "resume", id, "--rebase").code == 0
    assert Path("trace").read_text() == "a\n5s\n"


def test_giving_up_takes_back_what_was_done(cli: Cli, database: Database, target: str) -> None:
    write(RESTORE.replace("^2 people", "^3 people"))
    stopped = run(cli, database, target)
    assert stopped.code == 56
    assert "paused at step 'tell': its output does not show what was expected: ^3 people" in stopped.err
    assert people(database) == 2
    id = the_run(cli)["run"]
    done = cli("runbook", "abort", id)
    assert (done.code, done.out) == (0, f"run {id} is given up\n"), done.err
    assert people(database) == 0
    assert the_run(cli)["outcome"] == "given up"


def test_too_late_is_ended_with_its_children(cli: Cli, database: Database, target: str) -> None:
    write(FRONT + "\n```sh id=slow timeout=1s reads\necho $$ > pid\nsleep 600 & echo $! >> pid\nwait\n```\n")
    stopped = run(cli, database, target)
    assert "paused at step 'slow': it was not done within 1 s and was ended" in stopped.err
    for pid in Path("pid").read_text().split():
        wait_until(lambda pid=pid: not Path(f"/proc/{pid}").exists(), f"process {pid} is gone")
