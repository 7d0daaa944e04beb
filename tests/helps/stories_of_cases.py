"""Stopped with a case that is open, or that wrote."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import stat
from pathlib import Path
from typing import Any

import psycopg

from recovery.errors import EXIT_CODES, ErrorId
from recovery.model.target import format_utc
from runbooks.lab.background import pass_a_second
from tests.fix_cli import Ran
from tests.fix_lab import rds_client, wait_until
from tests.helps.place import Place, commands_of, follows, help_of
from tests.helps.stories_of_refusals import failing


def the_case(place: Place) -> dict[str, Any]:
    (found,) = json.loads(place.cli("cases", "--json").out)
    return dict(found)


def next_of(ran: Ran) -> list[str]:
    """The command that a result names as the next one."""
    return shlex.split(re.findall(r"next: rowback (.*)", ran.err)[0])


def changed(place: Place) -> int:
    """Two rows with a value that is wrong; returns the transaction's id."""
    with place.database.connect() as connection, connection.transaction():
        connection.execute("update t set x = 'bad' where id < 3")
        row = connection.execute("select pg_current_xact_id()::text::bigint").fetchone()
    assert row
    return int(row[0])


def lose_a_key(place: Place) -> None:
    """Two rows of `v` are lost, and a newcomer has the unique code of one of them."""
    place.database.run(
        "create table v (id int primary key, code text unique)",
        "insert into v select g, 'c' || g from generate_series(1, 5) g",
    )
    place.target = pass_a_second()
    place.database.run("delete from v where id > 3", "insert into v values (9, 'c4')")


@follows(ErrorId.NOTHING_AT_TARGET)
def the_incident_was_earlier(place: Place) -> None:
    early, place.target = place.target, place.target
    place.database.run("truncate t, u")
    place.target = pass_a_second()
    ran = place.refused(*place.asking("restore"))
    place.follow(ran)
    place.target = early
    place.works(*place.asking("restore"))
    assert place.rows() == place.held


@follows(ErrorId.INCIDENT_UNKNOWN)
def whose_rows_are_bad(place: Place) -> None:
    place.lose()
    bad = changed(place)
    ran = place.refused(*place.asking("restore", "--mode", "repair"))
    assert str(bad) in ran.err
    diff = place.follow(ran, XID=str(bad))
    place.works(*next_of(diff))
    assert place.rows() == place.held


@follows(ErrorId.CASE_OPEN)
def a_second_one(place: Place) -> None:
    place.lose()
    first = place.works(*place.asking("open")).out.strip()
    ran = place.refused(*place.asking("restore"))
    assert commands_of(ran) == [f"resume {first}", f"close {first}"]
    place.follow(ran, 1)
    place.works(*place.asking("restore"))
    assert place.rows() == place.held


@follows(ErrorId.DELETE_REFUSED)
def somebody_took_the_tag_away(place: Place) -> None:
    case = place.works(*place.asking("open")).out.strip()
    client, name = rds_client(place.live.lab), f"rowback-{case}"
    arn = client.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0]["DBInstanceArn"]
    tags = client.list_tags_for_resource(ResourceName=arn)["TagList"]
    client.remove_tags_from_resource(ResourceName=arn, TagKeys=[tag["Key"] for tag in tags])
    ran = place.refused("close", case)
    assert f"aws rds describe-db-instances --db-instance-identifier {name}" in help_of(ran)
    client.add_tags_to_resource(ResourceName=arn, Tags=tags)
    place.follow(ran)
    assert name not in place.live.lab.engine.instances or place.live.lab.engine.instances[name].status == "deleting"


@follows(ErrorId.SCHEMA_DRIFT)
def a_column_of_another_kind(place: Place) -> None:
    place.lose()
    place.database.run("alter table u alter x type timestamptz using now()")
    ran = place.refused(*place.asking("restore", "--table", "public.t", "--table", "public.u"))
    case = the_case(place)["case"]
    assert commands_of(ran) == [f"resume {case}", f"close {case}"]
    place.follow(ran, 1)
    place.works(*place.asking("restore", "--except", "public.u"))
    assert place.rows() == place.held


@follows(ErrorId.CASE_BUSY)
def it_was_written_already(place: Place) -> None:
    place.lose()
    case = place.works(*place.asking("open")).out.strip()
    place.works(*next_of(place.works("diff", case)))
    ran = place.refused("diff", case, "--again")
    assert commands_of(ran) == [f"resume {case}", f"verify {case}", f"undo {case}"], help_of(ran)
    place.follow(ran, 1)
    place.follow(ran, 0)
    assert place.rows() == place.held


@follows(ErrorId.QUOTA_REACHED)
def as_many_as_allowed(place: Place) -> None:
    place.lose()
    with failing(place, "RestoreDBInstanceToPointInTime", "InstanceQuotaExceeded", 400):
        ran = place.refused(*place.asking("restore"))
    reap = next(command for command in commands_of(ran) if command.startswith("reap"))
    place.works(reap.split()[0])
    resume = next(command for command in commands_of(ran) if command.startswith("resume"))
    asked = place.cli(*resume.split()[:2])
    assert "error[confirmation-missing]" in asked.err
    assert place.follow(asked).code == 0
    assert place.rows() == place.held


@follows(ErrorId.NOTHING_TO_REPAIR)
def changed_and_not_deleted(place: Place) -> None:
    bad = changed(place)
    ran = place.refused(*place.asking("restore"))
    place.follow(ran, code=20)
    case = the_case(place)["case"]
    diff = place.works("diff", case, "--mode", "repair", "--incident-xid", str(bad))
    place.works(*next_of(diff))
    assert place.rows() == place.held


@follows(ErrorId.NOTHING_TO_UNDO)
def nothing_was_written(place: Place) -> None:
    case = place.works(*place.asking("open")).out.strip()
    ran = place.refused("undo", case, "--confirm", place.database.name)
    assert case in place.follow(ran).out
    place.works("close", case)


@follows(ErrorId.RECOVERED_IN_PART)
def a_key_is_taken(place: Place) -> None:
    lose_a_key(place)
    ran = place.refused(*place.asking("restore"))
    assert "4" in place.follow(ran, 0).out
    place.follow(ran, len(commands_of(ran)) - 1)
    assert the_case(place)["outcome"] == "recovered in part"


@follows(ErrorId.UNDO_IN_PART)
def others_changed_it_since(place: Place) -> None:
    place.lose()
    place.works(*place.asking("restore"))
    place.database.run("update t set x = 'mine' where id = 10")
    case = the_case(place)["case"]
    ran = place.refused("undo", case, "--confirm", place.database.name)
    assert "1 row" in place.follow(ran, 0).out
    place.follow(ran, 1)
    assert place.rows() == [*place.held[:6], (10, "mine")]


@follows(ErrorId.COPY_FAILED)
def no_room_for_the_copy(place: Place) -> None:
    place.lose()
    place.live.lab.engine.faults.next_restores.append("storage-full")
    ran = place.refused(*place.asking("restore"))
    place.follow(ran, 0)
    place.works(*place.asking("restore"))
    assert place.rows() == place.held


@follows(ErrorId.STOPPED_MIDWAY)
def the_copy_went_away(place: Place) -> None:
    place.lose()
    case = place.works(*place.asking("open")).out.strip()
    diff = place.works("diff", case)
    with place.database.connect() as blocker, blocker.transaction():
        blocker.execute("lock table t in row exclusive mode")
        process = place.cli.start(*next_of(diff))
        waiting = "from pg_stat_activity where application_name = 'rowback' and wait_event_type = 'Lock'"
        wait_until(lambda: place.database.rows(f"select pid {waiting}"), "the load waits for the table")
        place.database.rows(f"select pg_terminate_backend(pid) {waiting}")
        out, err = process.communicate(timeout=60)
    ran = Ran(process.returncode, out, err)
    assert f"error[{place.provoked}]: " in err
    assert ran.code == EXIT_CODES[place.provoked]
    place.follow(ran)
    assert place.rows() == place.held


@follows(ErrorId.LOCK_NOT_GRANTED)
def somebody_holds_the_table(place: Place) -> None:
    place.lose()
    with contextlib.suppress(psycopg.OperationalError), place.database.connect() as blocker:
        blocker.execute("begin")
        blocker.execute("lock table t in row exclusive mode")
        pid = blocker.info.backend_pid
        ran = place.refused(*place.asking("restore"))
        end = f"select pg_terminate_backend({pid})"
        who = rf"pid {pid} \(postgres, \?\) is idle in transaction, in its transaction for [\d:]+"
        assert re.search(rf"^  waiting for a lock: {who}; to end it: {re.escape(end)}$", ran.err, re.MULTILINE)
        assert re.search(rf"^  {who}$", ran.err, re.MULTILINE)
        assert help_of(ran).startswith(f"wait for them, or end them: {end}; then: rowback resume ")
        place.database.rows(end)
    resume = next(i for i, command in enumerate(commands_of(ran)) if command.startswith("resume"))
    place.works(*commands_of(ran)[resume].split()[:2])
    assert place.rows() == place.held


@follows(ErrorId.DUMP_FAILED)
def pg_dump_is_broken(place: Place) -> None:
    place.database.run("truncate t")
    tools = place.home / "tools"
    tools.mkdir()
    version = place.database.rows("show server_version_num")[0][0]
    for name in ("pg_dump", "pg_restore"):
        say = f"echo '{name} (PostgreSQL) {int(version) // 10000}.9'"
        (tools / name).write_text(f'#!/bin/sh\n[ "$1" = --version ] && {say} && exit 0\necho broken >&2; exit 1\n')
        (tools / name).chmod(stat.S_IRWXU | stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH)
    ran = place.refused(*place.asking("restore"), ROWBACK_PG_BIN=str(tools))
    assert "broken" in ran.err
    resume = next(command for command in commands_of(ran) if command.startswith("resume"))
    place.works(*resume.split()[:2])
    assert place.rows() == place.held


@follows(ErrorId.LOAD_REFUSED)
def all_or_nothing(place: Place) -> None:
    lose_a_key(place)
    ran = place.refused(*place.asking("restore", "--all-or-nothing"))
    assert "unique key" in place.follow(ran).out
    place.works("close", the_case(place)["case"])


@follows(ErrorId.TARGET_TOO_LATE)
def t_lies_behind_the_incident(place: Place) -> None:
    """Known to the second only of a copy in which nothing was written since the end of its recovery."""
    early, faults = place.target, place.live.lab.engine.faults
    bad = changed(place)
    place.target, faults.idle_after_restore = pass_a_second(), True
    try:
        ran = place.refused(*place.asking("restore", "--mode", "repair", "--incident-xid", str(bad)))
        place.follow(ran)
    finally:
        faults.idle_after_restore = False
    earlier = re.findall(r"--at (\S+)", help_of(ran))
    assert earlier
    assert earlier[0] < format_utc(place.target)
    place.target = early
    place.works(*place.asking("restore", "--mode", "repair", "--incident-xid", str(bad)))
    assert place.rows() == place.held


@follows(ErrorId.RUN_PAUSED)
def a_step_fails(place: Place) -> None:
    front = "---\ntitle: x\npurpose: y\nwhen: z\n---\n\n"
    Path("book.md").write_text(f"{front}```sh id=a timeout=1m reads\ntest -e mended\n```\n")
    ran = place.refused("runbook", "run", "book.md", "--mode", "auto")
    Path("mended").touch()
    place.follow(ran, 0)
