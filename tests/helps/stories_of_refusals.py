"""Refused before anything was created."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from recovery.errors import ErrorId
from recovery.model.target import format_utc
from runbooks.lab.background import pass_a_second
from runbooks.lab.lab_state import CallFault
from tests.fix_lab import rds_client, wait_until
from tests.helps.place import Place, commands_of, follows, help_of


@contextmanager
def failing(place: Place, action: str, code: str, status: int = 403) -> Iterator[None]:
    faults = place.live.lab.engine.faults
    faults.calls.append(CallFault(action, code, f"{action}: {code}", status, times=99))
    try:
        yield
    finally:
        faults.calls.clear()


@follows(ErrorId.USAGE)
def something_is_missing(place: Place) -> None:
    ran = place.refused("plan", place.live.identifier, "--database", place.database.name)
    assert commands_of(ran)[0] == f"plan {place.live.identifier} --at TIME --database {place.database.name}"
    place.follow(ran, TIME=format_utc(place.target))


@follows(ErrorId.TARGET_TIME_NO_OFFSET)
def a_time_of_which_zone(place: Place) -> None:
    naive = format_utc(place.target).removesuffix("Z")
    ran = place.refused("plan", place.live.identifier, "--at", naive, "--database", place.database.name)
    (option, time) = help_of(ran).partition("write ")[2].partition(";")[0].split()
    place.works("plan", place.live.identifier, option, time, "--database", place.database.name)


@follows(ErrorId.TARGET_TIME_UNREADABLE)
def no_time_at_all(place: Place) -> None:
    ran = place.refused("plan", place.live.identifier, "--at", "noon", "--database", place.database.name)
    form = help_of(ran).split()[3]
    assert datetime.fromisoformat(form).tzinfo
    assert re.sub(r"\d", "9", form) == re.sub(r"\d", "9", format_utc(place.target))
    place.works(*place.asking())


@follows(ErrorId.CONFIG_INVALID)
def a_field_that_does_not_exist(place: Place) -> None:
    Path("rowback.toml").write_text("[profiles.p]\ncopy_klass = 'db.t3.micro'\n")
    ran = place.refused(*place.asking("plan", "--profile", "p"))
    page = (Path(__file__).parents[2] / help_of(ran).split()[0]).read_text()
    assert "\ncopy_class = " in page
    Path("rowback.toml").write_text("[profiles.p]\ncopy_class = 'db.t3.micro'\n")
    place.works(*place.asking("plan", "--profile", "p"))


@follows(ErrorId.LOG_UNREADABLE)
def a_log_that_is_none(place: Place) -> None:
    Path("notes.txt").write_text("milk\nbread\n")
    ran = place.refused("find", "--log", "notes.txt")
    option = shlex.split(help_of(ran).partition("begin: ")[2])
    assert option == ["--log-line-prefix", "%m [%p] "]
    Path("postgresql.log").write_text("2026-11-22 14:20:00.000 UTC [7] LOG:  statement: truncate people\n")
    assert "truncate" in place.works("find", "--log", "postgresql.log", *option).out


@follows(ErrorId.BOOK_INVALID)
def a_book_with_an_unknown_rule(place: Place) -> None:
    Path("book.md").write_text("---\ntitle: x\n---\n\n```sh id=a timeout=soon\ntrue\n```\n")
    ran = place.refused("runbook", "run", "book.md")
    assert "timeout" in place.follow(ran, code=2).out + place.follow(ran, code=2).err


@follows(ErrorId.LAB_UNAVAILABLE)
def no_lab_is_up(place: Place) -> None:
    ran = place.refused("lab", "break")
    done = place.follow(ran, code=3)
    assert done.err == "no lab is up; start one with: rowback lab up\n"


@follows(ErrorId.INSTANCE_UNKNOWN)
def a_name_with_a_slip(place: Place) -> None:
    asked = place.asking()
    asked[1] = "x" + asked[1]
    ran = place.refused(*asked)
    assert "aws rds describe-db-instances" in help_of(ran)
    names = [row["DBInstanceIdentifier"] for row in rds_client(place.live.lab).describe_db_instances()["DBInstances"]]
    assert place.live.identifier in names
    place.works(*place.asking())


@follows(ErrorId.TARGET_BEFORE_WINDOW)
def long_ago(place: Place) -> None:
    client = rds_client(place.live.lab)
    client.create_db_snapshot(DBInstanceIdentifier=place.live.identifier, DBSnapshotIdentifier="kept-of-helps")
    ran = place.refused("plan", place.live.identifier, "--at", "1999-01-01T00:00:00Z", "--database", "x")
    assert help_of(ran).endswith(f"aws rds describe-db-snapshots --db-instance-identifier {place.live.identifier}")
    found = client.describe_db_snapshots(DBInstanceIdentifier=place.live.identifier)["DBSnapshots"]
    assert "kept-of-helps" in [row["DBSnapshotIdentifier"] for row in found]


@follows(ErrorId.TARGET_AFTER_WINDOW)
def just_now(place: Place) -> None:
    faults = place.live.lab.engine.faults
    faults.restorable_lag_s = 3.0
    try:
        place.target = datetime.now(UTC).replace(microsecond=0)
        ran = place.refused(*place.asking())
        option = re.search(r"--wait-for-window \S+", help_of(ran))
        assert option
        place.works(*place.asking("plan", *option[0].split()))
    finally:
        faults.restorable_lag_s = 0.0


@follows(ErrorId.BACKUPS_OFF)
def nothing_is_kept(place: Place) -> None:
    client, name = rds_client(place.live.lab), "careless-of-helps"
    place.live.lab.create_instance(name, BackupRetentionPeriod=0)
    client.create_db_snapshot(DBInstanceIdentifier=name, DBSnapshotIdentifier="by-hand")
    ran = place.refused("plan", name, "--at", "2026-11-22T14:20:00Z", "--database", "postgres")
    assert help_of(ran).endswith(f"aws rds describe-db-snapshots --db-instance-identifier {name}")
    found = client.describe_db_snapshots(DBInstanceIdentifier=name)["DBSnapshots"]
    assert [row["DBSnapshotIdentifier"] for row in found] == ["by-hand"]
    client.delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True)


@follows(ErrorId.DATABASE_UNKNOWN)
def another_database(place: Place) -> None:
    asked = place.asking()
    asked[asked.index("--database") + 1] += "x"
    ran = place.refused(*asked)
    assert "psql -l" in help_of(ran)
    assert "restore-db-instance-to-point-in-time" in place.follow(ran).out
    assert place.database.name in ran.err.partition("nearest names: ")[2].splitlines()[0]
    place.works(*place.asking())


@follows(ErrorId.TABLE_UNKNOWN)
def a_table_that_was_dropped(place: Place) -> None:
    place.database.run("drop table t")
    ran = place.refused(*place.asking("plan", "--table", "public.t"))
    done = place.cli(*commands_of(ran)[0].split(), "--confirm", place.database.name)
    assert done.code == 0, done.err
    assert place.rows() == place.held


@follows(ErrorId.INSTANCE_UNSUITABLE)
def it_is_stopped(place: Place) -> None:
    place.works(*place.asking())
    instance = place.live.lab.engine.instances[place.live.identifier]
    instance.status = "stopped"
    try:
        ran = place.refused(*place.asking())
    finally:
        instance.status = "available"
    start = f"aws rds start-db-instance --db-instance-identifier {place.live.identifier}"
    assert help_of(ran) == f"start it ({start}), then run the same command again"
    place.works(*place.asking())


@follows(ErrorId.CASE_UNKNOWN)
def no_such_case(place: Place) -> None:
    assert place.follow(place.refused("status", "7f3a")).out == "no cases yet\n"


@follows(ErrorId.PLAN_UNREADABLE)
def no_such_plan(place: Place) -> None:
    place.lose()
    ran = place.refused("restore", "--plan", "p.json", "--confirm", place.database.name)
    assert commands_of(ran) == ["plan"]
    place.works(*place.asking("plan", "--out", "p.json"))
    place.works("restore", "--plan", "p.json", "--confirm", place.database.name)
    assert place.rows() == place.held


@follows(ErrorId.PLAN_FACTS_CHANGED)
def a_trigger_since_the_plan(place: Place) -> None:
    place.lose()
    place.works(*place.asking("plan", "--table", "public.t", "--out", "p.json"))
    place.database.run(
        "create function f() returns trigger language plpgsql as 'begin return new; end'",
        "create trigger late before insert on t for each row execute function f()",
    )
    ran = place.refused("restore", "--plan", "p.json", "--confirm", place.database.name)
    made = place.follow(ran)
    (file,) = re.findall(r"written to (\S+)", made.err)
    place.works("restore", "--plan", file, "--confirm", place.database.name)
    assert place.rows() == place.held


@follows(ErrorId.TABLE_UNRECOVERABLE)
def an_unlogged_table(place: Place) -> None:
    place.database.run("create unlogged table scratch (id int primary key)")
    place.target = pass_a_second()
    ran = place.refused(*place.asking("plan", "--table", "public.scratch"))
    option = re.search(r"--except \S+", help_of(ran).replace(";", " "))
    assert option
    place.works(*place.asking("plan", *option[0].split()))


@follows(ErrorId.PRIVILEGE_MISSING)
def not_the_tables_owner(place: Place) -> None:
    place.database.run("create role reader login password 'r'")
    ran = place.refused(*place.asking("plan", "--table", "public.t"), PGUSER="reader", PGPASSWORD="r")
    assert help_of(ran).startswith("grant it SELECT, log in as the owner")
    place.works(*place.asking("plan", "--table", "public.t"))
    place.database.run("drop role reader")


@follows(ErrorId.SERVER_UNREACHABLE)
def the_network_is_away(place: Place) -> None:
    place.works(*place.asking())
    cluster = place.live.lab.engine.instances[place.live.identifier].cluster
    port, cluster.port = cluster.port, 1
    try:
        ran = place.refused(*place.asking())
    finally:
        cluster.port = port
    assert help_of(ran).endswith("then run the same command again")
    place.works(*place.asking())


@follows(ErrorId.AUTHENTICATION_FAILED)
def a_wrong_password(place: Place) -> None:
    ran = place.refused(*place.asking(), PGPASSWORD="wrong")
    assert "PGUSER with PGPASSWORD" in help_of(ran)
    place.works(*place.asking(), PGPASSWORD=place.live.password)


@follows(ErrorId.AWS_UNREACHABLE)
def aws_is_away(place: Place) -> None:
    ran = place.refused(*place.asking(), AWS_ENDPOINT_URL="http://127.0.0.1:9", AWS_MAX_ATTEMPTS="1")
    assert "AWS_ENDPOINT_URL" in help_of(ran)
    place.works(*place.asking())


@follows(ErrorId.AWS_CREDENTIALS)
def expired(place: Place) -> None:
    with failing(place, "DescribeDBInstances", "ExpiredToken"):
        ran = place.refused(*place.asking())
    assert help_of(ran) == "log in again (aws sso login), then run the same command again"
    place.works(*place.asking())


@follows(ErrorId.IAM_MISSING)
def not_allowed(place: Place) -> None:
    with failing(place, "DescribeDBInstances", "AccessDenied"):
        ran = place.refused(*place.asking())
    page = re.search(r"docs/\S+\.md", help_of(ran))
    assert page
    assert "rds:DescribeDBInstances" in (Path(__file__).parents[2] / page[0]).read_text()
    place.works(*place.asking())


@follows(ErrorId.AWS_THROTTLED)
def too_many_calls(place: Place) -> None:
    with failing(place, "DescribeDBInstances", "Throttling", 400):
        ran = place.refused(*place.asking(), AWS_MAX_ATTEMPTS="2")
    assert help_of(ran) == "run the same command again in a minute"
    place.works(*place.asking())


@follows(ErrorId.AWS_REFUSED)
def a_value_that_rds_does_not_take(place: Place) -> None:
    place.lose()
    restore = place.asking("restore", "--copy-parameter-group", "no-such-group")
    with failing(place, "RestoreDBInstanceToPointInTime", "InvalidParameterValue", 400):
        ran = place.refused(*restore)
    assert "InvalidParameterValue" in ran.err
    (case,) = json.loads(place.cli("cases", "--json").out)
    place.works("close", case["case"])
    place.works(*place.asking("restore"))
    assert place.rows() == place.held


@follows(ErrorId.CLIENT_MISSING)
def no_pg_dump(place: Place) -> None:
    Path("empty").mkdir()
    ran = place.refused(*place.asking(), ROWBACK_PG_BIN=str(place.home / "empty"))
    option = re.search(r"--transport copy", help_of(ran))
    assert option
    place.works(*place.asking("plan", *option[0].split()), ROWBACK_PG_BIN=str(place.home / "empty"))


@follows(ErrorId.COST_CEILING)
def too_dear(place: Place) -> None:
    ran = place.refused(*place.asking("plan", "--max-cost", "0.001"))
    assert help_of(ran).startswith("raise --max-cost")
    place.works(*place.asking("plan", "--max-cost", "100"))


@follows(ErrorId.CONFIRMATION_MISSING)
def nobody_confirmed(place: Place) -> None:
    place.lose()
    ran = place.refused(*place.asking("restore")[:-2])
    added = help_of(ran).partition("add ")[2].split()
    place.works(*place.asking("restore")[:-2], *added)
    assert place.rows() == place.held


@follows(ErrorId.NOTHING_SUSPECT)
def nothing_in_the_log(place: Place) -> None:
    calm = "2026-11-22 14:20:00 UTC:1.1.1.1(5):app@db:[7]:LOG:  statement: select 1\n"
    Path("today.log").write_text(calm)
    Path("yesterday.log").write_text(calm.replace("select 1", "truncate people"))
    ran = place.refused("find", "--log", "today.log")
    assert "--log FILE" in help_of(ran)
    assert "truncate people" in place.works("find", "--log", "yesterday.log").out


@follows(ErrorId.NOT_RECOVERABLE)
def backups_are_off(place: Place) -> None:
    client, name = rds_client(place.live.lab), "late-of-helps"
    place.live.lab.create_instance(name, BackupRetentionPeriod=0)
    ran = place.refused("doctor", name)
    assert commands_of(ran)[-1] == f"doctor {name}"
    client.modify_db_instance(DBInstanceIdentifier=name, BackupRetentionPeriod=7, ApplyImmediately=True)
    again = place.cli(*commands_of(ran)[-1].split())
    assert "backup" in ran.out
    assert again.out != ran.out
    client.delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True)


@follows(ErrorId.COVERAGE_GAPS)
def an_instance_without_backups(place: Place) -> None:
    client, name = rds_client(place.live.lab), "gap-of-helps"
    place.live.lab.create_instance(name, BackupRetentionPeriod=0)
    ran = place.refused("coverage")
    assert name in ran.out
    assert help_of(ran) == "the fixes are above"
    client.delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True)
    wait_until(lambda: name not in place.live.lab.engine.instances, "the instance is gone")
    assert name not in place.cli("coverage").out
