"""What comes from strangers: a case directory, a plan, a log, rows, an instance. Nothing of it is executed, deleted or
obeyed; it is shown as what it is."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from recovery.aws.instances import Instances
from recovery.investigation.log_sources import from_files
from recovery.model.instance import InstanceFacts
from recovery.model.target import format_utc
from recovery.store.journal import read_records
from runbooks.lab.background import pass_a_second
from tests.fix_cli import Cli, Ran, restoring, the_case
from tests.fix_lab import Database, discard, rds_client, wait_until

UNREADABLE = 19


@pytest.fixture
def paused(cli: Cli, database: Database) -> str:
    """A case with its copy, stopped before anything was compared."""
    database.run("create table t (n int primary key)", "insert into t select generate_series(1, 50)")
    moment = pass_a_second()
    database.run("delete from t where n > 40")
    opened = cli("open", *restoring(cli, database, moment)[1:-2])
    assert opened.code == 0, opened.err
    return opened.out.strip()


def journal_of(cli: Cli, case: str) -> Path:
    return cli.home / "cases" / case / "journal.jsonl"


def rechained(path: Path, edit: Callable[[list[dict[str, Any]]], None]) -> None:
    """Edit the records of a journal and make its chain anew, as anybody can who reads how it is made."""
    records = [json.loads(line) for line in path.read_text().splitlines()]
    edit(records)
    lines, previous = [], "0" * 64
    for record in records:
        line = json.dumps({**record, "prev": previous}) + "\n"
        previous = hashlib.sha256(line.encode()).hexdigest()
        lines.append(line)
    path.write_text("".join(lines))
    assert len(read_records(path.parent)) == len(records), "the forged chain is whole"


def notifies(records: list[dict[str, Any]]) -> None:
    records[0]["data"]["profile"]["notify"] = [{"command": ["sh", "-c", "touch PWNED"]}]


VERBS = [
    ("resume",),
    ("close",),
    ("apply", "12345678", "--confirm", "db"),
    ("diff", "--again"),
    ("verify",),
    ("undo", "--confirm", "db"),
    ("peek", "select 1"),
]


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_a_case_directory_from_elsewhere_is_only_looked_at(
    cli: Cli, database: Database, paused: str, verb: tuple[str, ...]
) -> None:
    """Its chain is whole and it names a program to notify, but this user's key did not sign it."""
    rechained(journal_of(cli, paused), notifies)
    before = database.rows("select count(*), sum(n) from t")
    ran = cli(verb[0], paused, *verb[1:])
    assert ran.code == UNREADABLE, ran.err
    fact = f"case '{paused}' can only be looked at: record 0 of its journal is not signed with a key of this user"
    assert f"error[plan-unreadable]: {fact}\n" in ran.err
    assert not Path("PWNED").exists()
    assert database.rows("select count(*), sum(n) from t") == before
    assert f"rowback-{paused}" in cli.live.lab.engine.instances, "nothing was deleted by it"
    for look in (("status", paused), ("report", paused), ("cases",)):
        assert cli(*look).code == 0
    listed = cli("cases")
    assert f"case {paused} is left out: case '{paused}' can only be looked at" in listed.err
    assert not listed.out, "not that there are none"
    assert f"rowback-{paused}: kept: case '{paused}' can only be looked at" in cli("reap").out


def test_a_case_of_ones_own_other_machine_is_taken_over_with_its_key(
    cli: Cli, database: Database, paused: str, tmp_path: Path
) -> None:
    """The help that is printed works: the other machine's key is added to one's own, and both verify."""
    other = tmp_path / "other"
    (other / "cases").mkdir(parents=True)
    shutil.copytree(cli.home / "cases" / paused, other / "cases" / paused)
    refused = cli("resume", paused, ROWBACK_HOME=str(other))
    assert refused.code == UNREADABLE
    key = other / "journal.key"
    assert f"add the line of its journal.key to {key}" in refused.err
    key.write_bytes(b"ab" * 32 + b"\n" + (cli.home / "journal.key").read_bytes())
    key.chmod(0o600)
    closed = cli("close", paused, ROWBACK_HOME=str(other))
    assert closed.code == 0, closed.err
    assert f"rowback-{paused}" not in cli.live.lab.engine.instances


UNUSABLE_KEYS = {
    "read by all": ("others may read or write it", "if nobody else did: chmod 600 {key}"),
    "another user's": (
        "it belongs to user 65534, and this is user 0",
        "run rowback as the user whose cases these are (with or without sudo, as before), or set ROWBACK_HOME to a"
        " directory of this user",
    ),
    "a link": ("it is a link", "put the file itself there: {key}"),
    "emptied": (
        "it does not hold one key of 64 hexadecimal digits a line",
        "bring it back from a backup; or move it away, and a new one is made, under which the cases so far can only be"
        " read",
    ),
}


def make_unusable(key: Path, how: str) -> None:
    match how:
        case "read by all":
            key.chmod(0o644)
        case "another user's":
            os.chown(key, 65534, -1)
        case "a link":
            key.rename(key.with_name("elsewhere"))
            key.symlink_to(key.with_name("elsewhere"))
        case _:
            key.write_bytes(b"")


def key_refused(ran: Ran, key: Path, how: str) -> None:
    why, help = UNUSABLE_KEYS[how]
    assert ran.code == 2, ran.err
    assert ran.err.endswith(
        f"error[config-invalid]: {key}, the key of this user's journals, cannot be used: {why}\n"
        f"  nothing was done\n  help: {help.format(key=key)}\n"
    )


@pytest.mark.parametrize("how", UNUSABLE_KEYS)
def test_a_key_that_cannot_be_relied_on_is_refused(cli: Cli, paused: str, how: str) -> None:
    key = cli.home / "journal.key"
    content = key.read_bytes()
    make_unusable(key, how)
    key_refused(cli("resume", paused), key, how)
    key.unlink()
    key.write_bytes(content)
    key.chmod(0o600)
    assert cli("close", paused).code == 0


@pytest.mark.parametrize("how", UNUSABLE_KEYS)
def test_with_such_a_key_no_case_is_begun(cli: Cli, database: Database, how: str) -> None:
    """Not even its directory, which would stand there as a case that cannot be read."""
    database.run("create table t (n int primary key)", "insert into t values (1)")
    moment = pass_a_second()
    database.run("delete from t")
    key = cli.home / "journal.key"
    key.parent.mkdir(exist_ok=True)
    key.write_bytes(b"ab" * 32 + b"\n")
    key.chmod(0o600)
    make_unusable(key, how)
    key_refused(cli(*restoring(cli, database, moment)), key, how)
    assert not list((cli.home / "cases").glob("*"))
    assert not [name for name in cli.live.lab.engine.instances if name.startswith("rowback-")]


def test_the_recorded_resource_id_cannot_be_replaced(cli: Cli, paused: str) -> None:
    """Another instance under the copy's name and with its tags was deleted by `close` once the journal named it."""
    lab = cli.live.lab
    copy = lab.engine.instances[f"rowback-{paused}"]
    foreign = copy.resource_id.replace(copy.resource_id[-4:], "ELSE")

    def edit(records: list[dict[str, Any]]) -> None:
        (done,) = [r for r in records if r["event"] == "step.done" and r["step"] == "start-copy"]
        done["data"]["resource_id"] = foreign

    copy.resource_id = foreign
    rechained(journal_of(cli, paused), edit)
    assert cli("close", paused).code == UNREADABLE
    assert f"rowback-{paused}" in lab.engine.instances


ODD: dict[str, Callable[[list[dict[str, Any]]], None]] = {
    "no outcome": lambda records: records.append(
        {**records[-1], "seq": len(records), "event": "case.closed", "step": None, "data": {}}
    ),
    "no error": lambda records: records.append(
        {**records[-1], "seq": len(records), "event": "step.failed", "step": "diff", "data": {}}
    ),
    "a list": lambda records: records.append(
        {**records[-1], "seq": len(records), "event": "step.done", "step": "diff", "data": {"repair": []}}
    ),
    "no plan": lambda records: records[0]["data"].pop("plan"),
    "another version": lambda records: records[0]["data"].update(schema_version=99),
}


@pytest.mark.parametrize("odd", ODD)
def test_one_odd_case_hides_no_other(cli: Cli, paused: str, odd: str) -> None:
    strange = cli.home / "cases" / "20200101-000000-abcd"
    shutil.copytree(cli.home / "cases" / paused, strange)
    rechained(strange / "journal.jsonl", ODD[odd])
    listed = cli("cases")
    assert listed.code == 0, listed.err
    assert paused in listed.out
    assert "case 20200101-000000-abcd is left out: " in listed.err
    assert [case["case"] for case in json.loads(cli("cases", "--json").out)] == [paused]
    for verb in ("status", "report"):
        looked = cli(verb, "20200101-000000-abcd")
        assert looked.code in (0, UNREADABLE), looked.err
        assert "Traceback" not in looked.err


def test_links_pipes_and_torn_files_in_the_place_of_journals(cli: Cli, paused: str, tmp_path: Path) -> None:
    """A link was followed and the file behind it emptied; a pipe would be waited for."""
    precious = tmp_path / "precious"
    precious.write_text("precious, no newline")
    cases = cli.home / "cases"
    for name in ("20200101-000000-aaaa", "20200101-000000-bbbb", "20200101-000000-cccc"):
        (cases / name).mkdir()
    (cases / "20200101-000000-aaaa" / "journal.jsonl").symlink_to(precious)
    os.mkfifo(cases / "20200101-000000-bbbb" / "journal.jsonl")
    (cases / "20200101-000000-cccc" / "journal.jsonl").write_text("no journal at all")
    for name in ("aaaa", "bbbb", "cccc"):
        for verb in ("close", "resume", "status"):
            ran = cli(verb, f"20200101-000000-{name}")
            assert ran.code in (18, UNREADABLE), ran.err
    assert precious.read_text() == "precious, no newline"
    assert (cases / "20200101-000000-cccc" / "journal.jsonl").read_text() == "no journal at all"
    assert paused in cli("cases").out


def test_the_truth_about_a_home_that_may_not_be_read(cli: Cli, paused: str) -> None:
    """Another user was told that there are no cases yet."""
    script = (  # everything is imported before: the other user may not read this one's Python either
        "import os, sys; from recovery.cli import main; import recovery.commands.cases, recovery.commands.usage;"
        " import recovery.report.report_text, recovery.workflow.case_report;"
        " os.setgid(65534); os.setuid(65534); sys.argv = ['rowback', 'cases']; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **cli.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith(f"error[config-invalid]: {cli.home / 'cases'} may not be used by this user: ")
    assert paused not in done.stdout


# instances of others


@pytest.mark.parametrize("closed", [False, True])
def test_an_instance_with_copied_tags_neither_dies_nor_kills(cli: Cli, paused: str, closed: bool) -> None:
    """Somebody cloned a copy, tags and all, and its expiry has passed: reap deleted the paused case's copy for it, and
    said "removed" of the clone."""
    if closed:
        assert cli("close", paused).code == 0
    expired = format_utc(datetime.now(UTC) - timedelta(days=1))
    rds_client(cli.live.lab).create_db_instance(
        DBInstanceIdentifier="rowback-zzz",
        Engine="postgres",
        DBInstanceClass="db.t3.micro",
        AllocatedStorage=20,
        MasterUsername="postgres",
        MasterUserPassword="irrelevant1",
        Tags=[
            {"Key": "rowback:managed", "Value": "true"},
            {"Key": "rowback:case", "Value": paused},
            {"Key": "rowback:expires", "Value": expired},
        ],
    )
    reaped = cli("reap")
    assert reaped.code == 0
    why = f"it is tagged as of case '{paused}', whose copy is 'rowback-{paused}', so nothing here proves whose it is"
    assert f"rowback-zzz: kept: {why}\n" in reaped.out
    assert "removed" not in reaped.out
    assert "rowback-zzz" in cli.live.lab.engine.instances
    assert (f"rowback-{paused}" in cli.live.lab.engine.instances) is not closed
    if not closed:
        assert cli("close", paused).code == 0
    discard(cli.live.lab, lambda name: name == "rowback-zzz")
    wait_until(lambda: "rowback-zzz" not in cli.live.lab.engine.instances, "no other test meets it")


def test_an_instance_that_is_swapped_in_at_the_last_moment_is_told(
    cli: Cli, paused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RDS deletes by name, and has no condition: what it answers is compared, and "removed" is not said."""
    copy = cli.live.lab.engine.instances[f"rowback-{paused}"]
    find = Instances.find

    def found(self: Instances, identifier: str) -> InstanceFacts | None:
        facts = find(self, identifier)
        copy.resource_id = "db-SWAPPED"  # behind the look, before the call
        return facts

    monkeypatch.setattr(Instances, "find", found)
    closed = cli("close", paused)
    assert closed.code == 24, closed.err
    fact = f"'rowback-{paused}' was replaced by another instance while it was being removed"
    assert f"error[delete-refused]: {fact}\n" in closed.err
    assert "db-SWAPPED is being deleted, without a final snapshot" in closed.err
    assert "restore it from its snapshots: aws rds describe-db-snapshots --dbi-resource-id db-SWAPPED" in closed.err


# a plan


def test_a_plan_from_a_stranger_is_checked_like_ones_own(cli: Cli, database: Database) -> None:
    """Its digest fits, because anybody can compute one. Its condition is one condition, its server the planned one."""
    database.run(
        "create table t (n int primary key)",
        "insert into t select generate_series(1, 50)",
        "create table victim (n int)",
        "insert into victim values (1)",
    )
    moment = pass_a_second()
    database.run("delete from t where n > 40")
    planned = cli(
        "plan", *restoring(cli, database, moment)[1:-2], "--table", "t", "--where", "n > 0", "--out", "p.json"
    )
    assert planned.code == 0, planned.err
    from recovery.model.recovery_plan import RecoveryPlan

    plan = RecoveryPlan.from_file(Path("p.json").read_text())
    forged = {
        "where": "n > 0); drop table victim; --",
        "other": "true) or exists (select setval('x', 1)",
        "comment": "true /*",
        "quote": "'",
    }
    for where in forged.values():
        Path("q.json").write_text(plan.model_copy(update={"where": where}).to_file())
        ran = cli("restore", "--plan", "q.json", "--confirm", database.name)
        assert ran.code == 2, ran.out + ran.err
        assert "is no condition on public.t" in ran.err
        assert cli("cases").out == "no cases yet\n", "nothing was created for it"
    identity = plan.identity.model_copy(update={"system_identifier": "1234567890123456789"})
    Path("q.json").write_text(plan.model_copy(update={"identity": identity}).to_file())
    ran = cli("restore", "--plan", "q.json", "--confirm", database.name)
    assert ran.code == 22, ran.err
    assert database.rows("select n from victim") == [(1,)]
    assert database.rows("select count(*) from t") == [(40,)]


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 50_000, "{}", "null", '"x"', "\x00", "[1]", "NaN"])
def test_a_file_that_is_no_plan(cli: Cli, text: str) -> None:
    Path("p.json").write_text(text)
    for command in (("restore", "--plan", "p.json"), ("approve", "p.json", "--by", "ann")):
        ran = cli(*command)
        assert ran.code == UNREADABLE, ran.err
        assert "error[plan-unreadable]: p.json is no plan of this version\n" in ran.err


# data on the terminal

OWNED = "\x1b[2J\x1b]0;OWNED\x07\x9b2J\u202e\r\npublic.orders id=7: lost, insert"
BAD = {"\x1b", "\x07", "\x9b", "\u202e", "\r"}


def test_rows_and_names_reach_the_terminal_as_text(cli: Cli, database: Database) -> None:
    """Names of tables and columns and values of rows with everything a terminal obeys, and newlines that forge rows."""
    from psycopg import sql

    table, column = sql.Identifier(f"t{OWNED}"[:50]), sql.Identifier(f"c{OWNED}"[:40])
    with database.connect() as connection:
        connection.execute(sql.SQL("create table {} (n int primary key, {} text)").format(table, column))
        connection.execute(sql.SQL("insert into {} select g, 'x' from generate_series(1, 9) g").format(table))
        moment = pass_a_second()
        connection.execute(sql.SQL("delete from {} where n < 3").format(table))
        connection.execute(sql.SQL("update {} set {} = %s where n > 7").format(table, column), (OWNED,))
    arguments = restoring(cli, database, moment)[1:-2]
    said = [cli("plan", *arguments)]
    case = cli("open", *arguments, "--mode", "replace").out.strip()
    said += [
        cli("diff", case),
        cli("diff", case, "--show", "lost"),
        cli("diff", case, "--show", "changed"),
        cli("peek", case, "select * from pg_class where relname like 't%'"),
        cli("status", case),
        cli("cases"),
        cli("report", case),
    ]
    digest = json.loads(cli("diff", case, "--json").out)["digest"][:8]
    said.append(cli("apply", case, digest, "--confirm", database.name, "--confirm-loss", "2"))
    said += [cli("undo", case, "--dry-run"), cli("close", case), cli("report", case)]
    said += [cli("report", case, "--format", form) for form in ("md", "html")]
    for ran in said:
        assert not BAD & set(ran.out + ran.err), ran
        assert "\npublic.orders id=7: lost, insert" not in ran.out + ran.err, "a value forged a line"
    assert r"\x1b[2J\x1b]0;OWNED\x07\u009b2J\u202e\r\n" in said[3].out
    assert the_case(cli)["outcome"] in ("recovered", "recovered in part"), said[-5].err


def test_a_spreadsheet_is_given_no_formula(cli: Cli, database: Database) -> None:
    database.run(
        "create table t (n int primary key, v text)", "insert into t values (1, '=cmd|''/c calc''!A1'), (2, '-2')"
    )
    moment = pass_a_second()
    database.run("delete from t")
    case = cli("open", *restoring(cli, database, moment)[1:-2]).out.strip()
    query = "select v from t order by n"
    assert cli("peek", case, query, "--csv").out == "v\n=cmd|'/c calc'!A1\n-2\n", "exact, as data is"
    assert cli("peek", case, query, "--spreadsheet").out == "v\n'=cmd|'/c calc'!A1\n-2\n"
    assert cli("close", case).code == 0


def test_a_log_from_a_stranger(cli: Cli) -> None:
    """Role, application and statement are the stranger's words; the command that is proposed is one command."""
    evil = '"t\x1b[2J$(touch PWNED)`touch PWNED`", "two\\n words; touch PWNED"'
    said = ["connection authorized: user=app database=db", f"statement: truncate {evil}", "statement: select 1"]
    Path("made.log").write_text(
        "".join(
            f"2026-11-22 14:00:0{second} UTC:127.0.0.1(5):app@db:[7]:LOG:  {text}\n" for second, text in enumerate(said)
        )
    )
    ran = cli("find", "--log", "made.log", "--log-line-prefix", "%t:%r:%u@%d:[%p]:")
    assert ran.code == 0, ran.err
    assert not BAD & set(ran.out + ran.err)
    (command,) = [line.partition(": ")[2] for line in ran.out.splitlines() if line.startswith("next: ")]
    script = f"rowback() {{ printf '%s\\0' \"$@\"; }}; {command}"
    words = subprocess.run(["bash", "-c", script], capture_output=True, check=False).stdout.split(b"\0")
    assert not Path("PWNED").exists()
    assert any(b"touch PWNED" in word for word in words), command


def test_a_pipe_without_a_writer_is_not_waited_for(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from recovery.investigation import log_sources

    monkeypatch.setattr(log_sources, "PIPE_S", 0.2)
    os.mkfifo("pipe.log")
    ran = cli("find", "--log", "pipe.log")
    assert ran.code == 2
    assert "error[log-unreadable]: the log 'pipe.log' cannot be read: " in ran.err
    assert "nothing was written into this pipe for 0.2 s" in ran.err


def test_gigabytes_of_empty_lines_hide_nothing(cli: Cli) -> None:
    """A compressed log of a megabyte that holds 256 MiB of newlines between two records was not done in two minutes for
    eight times as many; read is what stands between."""
    prefix = "2026-11-22 14:00:0{} UTC:127.0.0.1(5):app@db:[7]:LOG:  {}\n"
    with gzip.open("made.log.gz", "wb", compresslevel=1) as log:
        log.write(prefix.format(0, "connection authorized: user=app database=db").encode())
        for _ in range(256):
            log.write(b"\n" * 2**20)
        log.write(prefix.format(5, "statement: truncate people").encode())
        log.write(prefix.format(6, "statement: select 1").encode())
    chunks = b"".join(chunk for source in from_files([Path("made.log.gz")]) for chunk in source.chunks)
    assert len(chunks) < 2**16
    ran = cli("find", "--log", "made.log.gz", "--log-line-prefix", "%t:%r:%u@%d:[%p]:")
    assert ran.code == 0, ran.err
    assert "1. committed: TRUNCATE people" in ran.out
