"""What was cut off or given up: what is done again, taken back, or left."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from recovery.store.journal import read_records
from runbooks.steps.book_step import Effects
from runbooks.steps.rowback_command import Command
from tests.fix_cli import Cli, Ran, restoring, the_case
from tests.fix_lab import Database, wait_until
from tests.scenarios.runbook.book_runs import FRONT, RESTORE, given, kill, logs, people, reached, run, the_run, write

pytestmark = pytest.mark.drill


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
