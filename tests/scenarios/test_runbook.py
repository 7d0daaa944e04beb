"""`rowback runbook` on the lab: previews, runs, pauses, crashes, approvals; each run is a journal."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest

from recovery.model.target import format_utc
from recovery.store.journal import read_records
from runbooks.lab.background import pass_a_second
from runbooks.lab.lab_server import REGION, Lab
from runbooks.processes import runs
from runbooks.steps.book_step import Effects
from runbooks.steps.rowback_command import Command
from tests.fix_cli import Cli, Ran, restoring, the_case
from tests.fix_lab import Database, wait_until

pytestmark = pytest.mark.drill

FRONT = """\
---
title: People are gone
purpose: Put them back.
when: Somebody says so.
parameters:
  instance: {type: instance}
  database: {type: database}
  target: {type: time}
objectives: {recovery_time: 60m}
---
# People are gone

Words.
"""
RESTORE = (
    FRONT
    + """
```sql id=count timeout=1m rows=1 save=before
select count(*) from people
```

- [ ] They are gone indeed.

```rowback id=restore timeout=5m save=case=case undo="rowback undo $CASE --confirm $DATABASE"
rowback restore $INSTANCE --at $TARGET --database $DATABASE --confirm $DATABASE --json
```

```sh id=tell timeout=1m reads expect="^2 people"
echo "2 people are back, there were $RUNBOOK_BEFORE"
```

```sql id=look timeout=1m rows=2+
select name from people where name <> :'database'
```
"""
)


@pytest.fixture
def target(database: Database) -> str:
    """Two people, a second, and nobody."""
    database.run(
        "create table people (id int primary key, name text)", "insert into people values (1, 'ann'), (2, 'bob')"
    )
    moment = pass_a_second()
    database.run("truncate people")
    return format_utc(moment)


def given(cli: Cli, database: Database, target: str) -> list[str]:
    return ["-p", f"instance={cli.live.identifier}", "-p", f"database={database.name}", "-p", f"target={target}"]


def write(text: str) -> str:
    Path("book.md").write_text(textwrap.dedent(text))
    return "book.md"


def run(cli: Cli, database: Database, target: str, *extra: str, **environment: str) -> Ran:
    return cli(
        "runbook",
        "run",
        "book.md",
        *given(cli, database, target),
        "--mode",
        "auto",
        "--confirmed",
        "they-are-gone-indeed",
        *extra,
        **environment,
    )


def the_run(cli: Cli) -> dict[str, Any]:
    (found,) = json.loads(cli("runbook", "runs", "--json").out)
    return dict(found)


def events(cli: Cli) -> list[tuple[str, str | None]]:
    (directory,) = (cli.home / "runs").iterdir()
    return [(record.event, record.step) for record in read_records(directory) if record.event != "step.child"]


def logs(cli: Cli) -> dict[str, str]:
    (directory,) = (cli.home / "runs").iterdir()
    return {path.name: path.read_text() for path in sorted((directory / "logs").iterdir())}


def people(database: Database) -> int:
    return int(database.rows("select count(*) from people")[0][0])


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


class Terminal:
    """A person's terminal: what is shown is read from it, what is typed is written to it."""

    def __init__(self, cli: Cli, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "recovery.cli", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**os.environ, **cli.environment},
        )
        os.close(slave)
        self.shown = ""

    def until(self, text: str) -> None:
        """Read until that is shown, behind what was read before."""
        start = len(self.shown)
        wait_until(lambda: self._read() and text in self.shown[start:], f"{text!r} in {self.shown[-500:]!r}")

    def type(self, line: str) -> None:
        os.write(self._master, f"{line}\n".encode())

    def end(self) -> int:
        while self.process.poll() is None:
            self._read()
        return self.process.returncode

    def _read(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], 0.05)
        if ready:
            with contextlib.suppress(OSError):
                self.shown += os.read(self._master, 65536).decode(errors="replace")
        return True


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


def test_the_profile_of_a_run_is_that_of_its_commands(cli: Cli, database: Database, target: str) -> None:
    write(RESTORE)
    Path("rowback.toml").write_text("[profiles.strict]\napprovals_needed = 1\n")
    stopped = run(cli, database, target, "--profile", "strict")
    assert stopped.code == 56
    assert "error[approval-missing]: 1 approval by others of what is written is wanted" in stopped.err
    assert people(database) == 0
    gone = cli("runbook", "abort", the_run(cli)["run"])
    assert gone.code == 0, gone.err
    assert the_case(cli)["outcome"] == "closed without change", "what a step left open is closed"
    assert [name for name in cli.live.lab.engine.instances if name.startswith("rowback-")] == []


def test_somebody_elses_case_is_not_taken_for_the_runs_own(cli: Cli, database: Database, target: str) -> None:
    """Cut off before the restore opened a case; meanwhile another case is opened by hand."""
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
    wait_until(lambda: reached(cli, "start restore") or process.poll() is not None, "the restore")
    kill(process)
    for case in json.loads(cli("cases", "--json").out):  # it may have come that far already
        cli("close", case["case"])
    other = cli("open", cli.live.identifier, "--at", target, "--database", "postgres", "--table", "*")
    ours = cli("runbook", "resume", the_run(cli)["run"])
    assert ours.code == 0, ours.err
    assert people(database) == 2
    assert "continue what was begun" not in ours.err
    assert other.code in (0, 15)


def test_a_command_that_outlives_a_killed_run_is_not_begun_a_second_time(
    cli: Cli, database: Database, target: str
) -> None:
    write(
        FRONT + '\n```sh id=slow timeout=1m undo="none: x"\necho start >> trace; while test ! -e go; do sleep 0.1;'
        " done; echo end >> trace\n```\n"
    )
    process = cli.start("runbook", "run", "book.md", *given(cli, database, target), "--mode", "auto")
    journal = next((cli.home / "runs").glob("*/journal.jsonl"), Path("none"))

    def begun() -> bool:
        nonlocal journal
        journal = next((cli.home / "runs").glob("*/journal.jsonl"), Path("none"))
        return Path("trace").exists() and '"step.child"' in journal.read_text()

    wait_until(begun, "the script runs, and the run has written down that it does")
    busy = cli("runbook", "resume", the_run(cli)["run"])
    assert busy.err == (
        f"error[case-busy]: another process is driving run '{the_run(cli)['run']}'\n  nothing was done\n"
        "  help: watch it: rowback runbook runs\n"
    )
    process.kill()
    process.wait()
    id = the_run(cli)["run"]
    for extra in ((), ("--from", "slow"), ("--skip", "slow", "--reason", "why not")):
        still = cli("runbook", "resume", id, *extra)
        assert still.code == 56
        assert "which an earlier attempt began, is still running" in still.err
    Path("go").touch()
    wait_until(lambda: "end" in Path("trace").read_text(), "it ends")
    unknown = ""

    def told() -> bool:
        nonlocal unknown
        unknown = cli("runbook", "resume", id).err
        return "is still running" not in unknown

    wait_until(told, "its process is gone")
    assert "it began, it writes, and whether it did cannot be told; do it again with --from slow" in unknown
    assert Path("trace").read_text() == "start\nend\n", "not done twice"
    assert cli("runbook", "resume", id, "--skip", "slow", "--reason", "it did").code == 0


def test_a_statement_that_did_not_do_what_it_should_did_nothing(cli: Cli, database: Database, target: str) -> None:
    """It is judged before it is committed; so a second try writes nothing twice."""
    write(
        FRONT + '\n```sql id=add timeout=1m rows=2 undo="none: x"\n'
        "insert into people values (7, 'eve') returning id\n```\n"
        '\n```sql id=all timeout=1m rows=0 undo="none: x"\ndelete from people\n```\n'
    )
    stopped = run(cli, database, target)
    assert "paused at step 'add': it gives 1 rows, not 2" in stopped.err
    assert cli("runbook", "resume", the_run(cli)["run"]).code == 56
    assert people(database) == 0
    database.run("insert into people values (1, 'ann')")
    skipped = cli("runbook", "resume", the_run(cli)["run"], "--skip", "add", "--reason", "not needed")
    assert "paused at step 'all': it gives 1 rows, not 0" in skipped.err
    assert people(database) == 1, "rows= counts what a statement changes as well"


def test_what_is_expected_may_stand_in_any_commands_output(cli: Cli, database: Database, target: str) -> None:
    write(
        FRONT + '\n```rowback id=two timeout=1m expect="no cases yet" save=last\n'
        "rowback cases\nrowback --version\n```\n"
        "\n```sh id=show timeout=1m reads expect=^rowback\necho $RUNBOOK_LAST\n```\n"
    )
    assert run(cli, database, target).code == 0


def test_what_was_cut_off_is_not_done_again_unasked(cli: Cli, database: Database, target: str) -> None:
    write(FRONT + '\n```sh id=slow timeout=1s undo="none: x"\necho begun >> trace; sleep 60\n```\n')
    assert "it was not done within 1 s and was ended" in run(cli, database, target).err
    again = cli("runbook", "resume", the_run(cli)["run"])
    assert again.code == 56
    assert "it began, it writes, and whether it did cannot be told; do it again with --from slow" in again.err
    assert Path("trace").read_text() == "begun\n"


PLAN = "\n```sh id=plan timeout=1m reads save=rows\ncat planned\n```\n"
GO = "\n```approve id=go\nSo many rows?\n```\n"
DELETE = '\n```sh id=delete timeout=1m undo="none: gone"\necho "$RUNBOOK_ROWS deleted" >> trace\n```\n'
EARLY = '\n```sh id=early timeout=1m undo="none: x"\necho early >> trace\n```\n'
GATED = FRONT + PLAN + GO + DELETE


def test_an_approval_is_of_what_was_seen_and_cannot_be_gone_round(
    cli: Cli, database: Database, target: str, users: dict[str, dict[str, str]]
) -> None:
    write(GATED)
    Path("planned").write_text("5")
    assert run(cli, database, target, **users["carl"]).code == 61
    id = the_run(cli)["run"]

    def agree(*by: str) -> Ran:
        return cli("runbook", "approve", id, "go", "--by", *by, **users["dora"])

    def go_on(*extra: str) -> Ran:
        return cli("runbook", "resume", id, *extra, **users["carl"])

    nobody = agree("")
    assert (nobody.code, nobody.err.splitlines()[0]) == (2, "error[usage]: --by names nobody")
    assert agree("dora").code == 0
    Path("planned").write_text("5000000")
    assert go_on("--from", "plan").code == 61, "what was approved is not what would be done now"
    asked = GO.replace("approve id=go", "ask id=go default=yes")
    for text in (PLAN + asked + DELETE, EARLY + PLAN + GO + DELETE, PLAN + DELETE + GO):
        write(FRONT + text)
        refused = go_on("--rebase")
        assert refused.code == 62, refused.err
        assert not Path("trace").exists()
    write(GATED)
    Path("planned").unlink()
    assert go_on("--from", "plan").code == 56
    early = agree("dora")
    assert (early.code, early.err.splitlines()[0]) == (
        61,
        f"error[approval-missing]: run {id} stands at 'plan', not at 'go'",
    )
    Path("planned").write_text("5000000")
    assert go_on().code == 61
    assert go_on("--from", "plan", "-p", "nope=1").code == 2
    assert the_run(cli)["waiting_at"] == "go", "what is refused changes nothing"
    unasked = cli("runbook", "resume", id, "--from", "plan", "--mode", "ask", **users["carl"])
    assert (unasked.code, the_run(cli)["waiting_at"]) == (2, "go")
    assert agree("dora").code == 0
    assert go_on().code == 0
    assert Path("trace").read_text() == "5000000 deleted\n"


def test_a_run_keeps_no_secret_and_never_uses_a_masked_value(cli: Cli, database: Database, target: str) -> None:
    text = FRONT.replace("parameters:", "parameters:\n  what: {type: text}")
    write(text + "\n```sql id=a timeout=1m undo=\"none: x\"\ninsert into people values (1, :'what')\n```\n")
    refused = run(cli, database, target, "-p", "what=reset token = abc123 of user 7")
    assert refused.code == 2
    assert refused.err.startswith("error[usage]: what holds a secret, and runs keep their values\n")
    assert people(database) == 0
    write(FRONT + "\n```sh id=a timeout=1m reads save=said\necho 'password=hunter2222'\n```\n")
    saved = run(cli, database, target)
    assert "paused at step 'a': what it would save as SAID holds a secret, and runs keep no secrets" in saved.err
    assert "hunter2222" not in (saved.err + "".join(logs(cli).values()))


def test_an_abort_names_what_it_leaves(cli: Cli, database: Database, target: str) -> None:
    """Begun anew, or left out after it had begun: what the first attempt wrote is still there."""
    write(RESTORE.replace("^2 people", "^3 people"))
    assert run(cli, database, target).code == 56
    id, first = the_run(cli)["run"], the_case(cli)["case"]
    again = cli("runbook", "resume", id, "--from", "restore")
    assert again.code == 56, again.err
    given_up = cli("runbook", "abort", id)
    assert given_up.code == 56
    assert f"restore: case {first} of an earlier attempt wrote rows: rowback undo {first}\n" in given_up.out


def test_an_abort_takes_back_what_an_earlier_attempt_did(cli: Cli, database: Database, target: str) -> None:
    write(
        FRONT + '\n```sh id=a timeout=1m undo="rowback cases"\ntest ! -e broken\n```\n'
        "\n```sh id=b timeout=1m reads\nfalse\n```\n"
    )
    assert run(cli, database, target).code == 56
    id = the_run(cli)["run"]
    Path("broken").touch()
    assert "paused at step 'a'" in cli("runbook", "resume", id, "--from", "a").err
    assert cli("runbook", "abort", id).code == 0
    assert [text for name, text in logs(cli).items() if name.endswith("-a-undo.out")] == ["no cases yet\n"]


def test_an_abort_closes_a_case_whose_opening_was_cut_off(cli: Cli, database: Database, target: str) -> None:
    write(
        FRONT + '\n```rowback id=open timeout=5m save=case undo="rowback close $CASE"\n'
        "rowback open $INSTANCE --at $TARGET --database $DATABASE\n```\n\n"
        '```rowback id=close timeout=1m undo="none: x"\nrowback close $CASE\n```\n'
    )
    process = cli.start("runbook", "run", "book.md", *given(cli, database, target), "--mode", "auto")

    def copying() -> bool:
        journals = [path.read_text() for path in (cli.home / "cases").glob("*/journal.jsonl")]
        return any('"start-copy"' in text and '"step.done"' in text for text in journals)

    wait_until(copying, "the copy is begun")
    kill(process)
    assert cli("runbook", "abort", the_run(cli)["run"]).code == 0
    assert the_case(cli)["outcome"] == "closed without change"
    assert not [name for name in cli.live.lab.engine.instances if name.startswith("rowback-")]


def test_an_apply_is_done_when_it_is_proven(cli: Cli, database: Database, target: str) -> None:
    """Killed between its commit and its proof, it is gone on with."""
    assert cli(*restoring(cli, database, datetime.fromisoformat(target))).code == 0
    case = the_case(cli)["case"]
    path = cli.home / "cases" / case / "journal.jsonl"
    effects = Effects(reads=False, timeout_s=60)
    step = Command("apply", 1, effects, (f"rowback apply {case} 12345678",))
    lines = [["rowback", "apply", case, "12345678"]]
    monkey = pytest.MonkeyPatch()
    monkey.setenv("ROWBACK_HOME", str(cli.home))
    try:
        begun = datetime(2026, 1, 1, tzinfo=UTC)
        assert step.already_happened(lines, begun, "x") == {}
        records = path.read_bytes().splitlines(keepends=True)
        proven = next(n for n, line in enumerate(records) if b'"step.done"' in line and b'"verify"' in line)
        path.write_bytes(b"".join(records[:proven]))
        unproven = step.already_happened(lines, begun, "x")
        assert isinstance(unproven, Command)
        assert unproven.lines == (f"rowback resume {case}",)
        loaded = next(n for n, line in enumerate(records) if b'"step.done"' in line and b'"load"' in line)
        path.write_bytes(b"".join(records[:loaded]))
        assert step.already_happened(lines, begun, "x") is None
    finally:
        monkey.undo()


def test_an_undo_is_never_turned_round(cli: Cli, database: Database, target: str) -> None:
    """Its driver dies, the command goes on and commits: resuming must not undo the undo."""
    write(RESTORE)
    assert run(cli, database, target).code == 0
    case = the_case(cli)["case"]
    write(
        FRONT.replace("parameters:", "parameters:\n  case: {type: text}") + "\n- [ ] Wrong indeed.\n\n"
        '```rowback id=undo timeout=5m undo="none: x"\nrowback undo $CASE --confirm $DATABASE\n```\n'
    )
    with database.connect() as blocker:
        blocker.execute("begin")
        blocker.execute("lock table people in share mode")
        process = cli.start(
            "runbook",
            "run",
            "book.md",
            *given(cli, database, target),
            "-p",
            f"case={case}",
            "--mode",
            "auto",
            "--confirmed",
            "wrong-indeed",
        )
        wait_until(lambda: reached_of(cli, "undo"), "the undo waits for the lock")
        process.kill()
        process.wait()
    id = json.loads(cli("runbook", "runs", "--json").out)[-1]["run"]
    again = ("runbook", "resume", id, "--confirmed", "wrong-indeed")
    wait_until(lambda: "is still running" not in cli(*again).err, "the command that was left ends")
    assert json.loads(cli("runbook", "runs", "--json").out)[-1]["outcome"] == "finished"
    assert people(database) == 0, "taken out"
    (directory,) = (cli.home / "cases").iterdir()
    assert [record.event for record in read_records(directory)].count("undo.done") == 1, "and not put back again"


def reached_of(cli: Cli, step: str) -> bool:
    return any(
        f'"step.child","step":"{step}"' in path.read_text() for path in (cli.home / "runs").glob("*/journal.jsonl")
    )


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


def reached(cli: Cli, moment: str) -> bool:
    event, step = moment.split()
    directories = list((cli.home / "runs").glob("*/journal.jsonl"))
    if not directories:
        return False
    if event == "in":
        journals = list((cli.home / "cases").glob("*/journal.jsonl"))
        return bool(journals) and '"step.done","step":"await-copy"' in journals[0].read_text()
    return f'"step.{event}","step":"{step}"' in directories[0].read_text()


def kill(process: subprocess.Popen[str]) -> None:
    """The run first, so that it sees nothing; then its children, which have sessions of their own.

    It is stopped before its children are counted: it may be about to begin one more.
    """
    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: process.poll() is not None or state(process.pid) in "TZ", "it stands still")
    children = [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/stat")
        if (text := read(path)) and text.rpartition(")")[2].split()[1] == str(process.pid)
    ]
    process.kill()
    for child in children:
        for end in (os.killpg, os.kill):  # one that has just begun has no session yet
            with contextlib.suppress(ProcessLookupError, PermissionError):
                end(child, signal.SIGKILL)
    process.communicate()
    wait_until(lambda: not any(map(runs, children)), "all are gone")


def state(pid: int) -> str:
    """Its letter in /proc; Z where there is none."""
    return (read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split() or ["Z"])[0]


def read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


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
