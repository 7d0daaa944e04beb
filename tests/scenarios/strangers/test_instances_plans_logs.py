"""Instances, plans, rows and logs of strangers."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recovery.aws.instances import Instances
from recovery.investigation.log_sources import from_files
from recovery.model.instance import InstanceFacts
from recovery.model.target import format_utc
from runbooks.lab.background import pass_a_second
from tests.fix_cli import Cli, restoring, the_case
from tests.fix_lab import Database, discard, rds_client, wait_until
from tests.scenarios.strangers.strange_cases import UNREADABLE


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
    find, looks = Instances.find, itertools.count(1)

    def found(self: Instances, identifier: str) -> InstanceFacts | None:
        facts = find(self, identifier)
        if next(looks) == 2:  # the last one: each attempt to delete proves anew what has the name
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
