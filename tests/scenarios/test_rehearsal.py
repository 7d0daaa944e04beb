"""A drill on a real instance breaks and repairs a restored copy; the instance itself is only read."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from recovery.aws.restore_call import database_tag
from recovery.model.instance import TAG_DATABASE, TAG_MANAGED, TAG_SOURCE
from recovery.model.target import format_utc
from runbooks.lab.background import pass_a_second
from runbooks.lab.lab_state import Parameters
from tests.fix_cli import Cli
from tests.fix_lab import Database, rds_client, wait_until

pytestmark = pytest.mark.drill

FILL = (
    """create table "Weird Name; --" (id int primary key, "t" text not null)""",
    """insert into "Weird Name; --" select n, 'word ' || n from generate_series(1, 500) n""",
    """create table leaf (id int primary key, parent int references "Weird Name; --")""",
    "insert into leaf select n, n from generate_series(1, 300) n",
    "create table aside (id int primary key)",
    "insert into aside select generate_series(1, 50)",
    "create table hollow (id int primary key)",
)


@pytest.fixture
def staging(cli: Cli, database: Database, tmp_path: Path) -> Database:
    """A database with rows, and profile `staging` that names it."""
    database.run(*FILL)
    pass_a_second()  # the copy is restored to a whole second
    (tmp_path / "rowback.toml").write_text(
        '[profiles.staging]\ncopy_parameter_group = "contained"\n'
        f'instance = "{cli.live.identifier}"\ndatabase = "{database.name}"\n'
        'approvals_needed = 1\n[profiles.bare]\nregion = "eu-central-1"\n'
    )
    return database


def state(staging: Database) -> list[tuple[Any, ...]]:
    """Row versions, so that even a write that changes nothing would show."""
    return [
        row
        for table in ('"Weird Name; --"', "leaf", "aside")
        for row in staging.rows(f"select xmin::text, ctid::text, t::text from {table} t order by ctid")
    ]


@pytest.fixture(autouse=True)
def contained(cli: Cli) -> Iterator[None]:
    """A parameter group in which no copy subscribes."""
    engine = cli.live.lab.engine
    values = {"max_logical_replication_workers": "0"}
    engine.parameters["contained"] = Parameters("contained", f"postgres{engine.tools.major}", "contained", values)
    yield
    del engine.parameters["contained"]


@pytest.mark.usefixtures("subscribed")
def test_a_subscribed_copy_is_not_made_for_a_drill_either(cli: Cli, staging: Database) -> None:
    cli.live.lab.engine.parameters["contained"].values.clear()
    ran = cli("drill", "--target", "staging", "--table", "leaf")
    assert ran.code == 17
    assert f"'{cli.live.identifier}' is subscribed (news of postgres)" in ran.err
    assert "parameter group 'contained' does not set max_logical_replication_workers to 0" in ran.err
    assert [name for name in cli.live.lab.engine.instances if name.startswith("rowback-drill")] == []


@pytest.fixture
def subscribed(cli: Cli) -> Iterator[None]:
    """An enabled subscription on the instance, which its copies inherit. RDS lets its master own such; so does this."""
    with psycopg.connect(cli.live.lab.engine.instances[cli.live.identifier].cluster.dsn(), autocommit=True) as admin:
        admin.execute("grant rdsadmin to postgres")
        admin.execute("create subscription news connection 'port=1' publication p with (connect = false)")
        admin.execute("alter subscription news enable")
        yield
        (row,) = admin.execute("select subenabled from pg_subscription").fetchall()
        admin.execute("alter subscription news disable")
        admin.execute("alter subscription news set (slot_name = none)")
        admin.execute("drop subscription news")
        admin.execute("revoke rdsadmin from postgres")
        assert row[0], "the instance's own subscription is nobody's business"


def beside(cli: Cli) -> str:
    """A copy of a recovery of another database: no reason not to drill."""
    facts = cli.live.lab.engine.instances[cli.live.identifier]
    tags = {TAG_SOURCE: facts.resource_id, TAG_DATABASE: database_tag("another"), TAG_MANAGED: "true"}
    rds_client(cli.live.lab).restore_db_instance_to_point_in_time(
        SourceDBInstanceIdentifier=cli.live.identifier,
        TargetDBInstanceIdentifier="rowback-other",
        UseLatestRestorableTime=True,
        Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
    )
    return "rowback-other"


def copies(cli: Cli) -> list[str]:
    instances = cli.live.lab.engine.instances
    return [name for name, found in instances.items() if name.startswith("rowback-") and found.status != "deleting"]


@pytest.mark.usefixtures("subscribed")
def test_the_copy_is_broken_and_repaired_and_the_instance_never_touched(cli: Cli, staging: Database) -> None:
    before, other = state(staging), beside(cli)
    pass_a_second()
    ran = cli("drill", "--target", "staging", "--table", "Weird Name; --", "--json", "--evidence", "kept")
    assert ran.code == 0, ran.err
    (page,) = Path("kept").glob("*/*.html")
    told = page.read_text()
    assert f"a restored copy of &#39;{cli.live.identifier}&#39;, database {staging.name}" in told
    assert "800 rows equal to those before it" in told
    assert "without the incident" not in told
    assert "Writes of others" not in told
    found = json.loads(ran.out)
    assert found["target"] == cli.live.identifier
    assert found["fault"] == 'truncate "public"."Weird Name; --" cascade'
    assert found["rows"] == 800  # CASCADE took leaf as well
    assert found["restored"] is True
    assert found["outside_scope_unchanged"] is True
    assert found["leftover_instances"] == []
    assert found["recovery"]["outcome"] == "recovered"
    assert found["recovery_time_s"] > 0
    assert set(found["phases_s"]) == {
        "stand-in",
        "stand-in-ready",
        "stand-in-backup",
        "steady-state",
        "fault",
        "plan",
        "steady-state-again",
    }
    assert state(staging) == before
    assert copies(cli) == [other]
    (case,) = (cli.home / "cases").iterdir()
    steps = [json.loads(line) for line in (case / "journal.jsonl").read_text().splitlines()]
    (secured,) = (step["data"] for step in steps if (step["event"], step["step"]) == ("step.done", "secure-copy"))
    assert secured["subscriptions_disabled"] == 0, "the drill's copy, which this is a copy of, had been made inert"
    (held,) = json.loads(cli("drills", "--json").out)
    assert (held["target"], held["passed"]) == (cli.live.identifier, True)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (
            ("--target", "staging"),
            2,
            [
                "error[usage]: --target staging needs --table",
                "  nothing was created, nothing was written",
                "  help: rowback drill --target staging --table TABLE; docs/reference/profiles.md shows every field",
            ],
        ),
        (
            ("--target", "bare", "--table", "leaf"),
            2,
            [
                "error[usage]: --target bare needs instance in the profile and database in the profile",
                "  nothing was created, nothing was written",
                "  help: rowback drill --target bare --table TABLE; docs/reference/profiles.md shows every field",
            ],
        ),
        (
            ("--table", "leaf"),
            2,
            [
                "error[usage]: --table does not go with --target lab: a drill on the lab makes its own tables",
                "  nothing was created, nothing was written",
                "  help: add --target PROFILE",
            ],
        ),
        (
            ("--target", "staging", "--table", "leaf", "--fault", "bad-delete", "--find", "--articles", "2000"),
            2,
            [
                "error[usage]: --find, --articles, --fault bad-delete does not go with --target staging: a drill on an"
                " instance truncates tables of it",
                "  nothing was created, nothing was written",
                "  help: rowback drill --target staging --table TABLE",
            ],
        ),
    ],
)
def test_what_cannot_be_drilled_is_refused(
    cli: Cli, staging: Database, arguments: tuple[str, ...], code: int, told: list[str]
) -> None:
    ran = cli("drill", *arguments)
    assert ran.code == code
    assert ran.err.splitlines() == told
    assert copies(cli) == []


def test_an_unknown_table_creates_nothing(cli: Cli, staging: Database) -> None:
    ran = cli("drill", "--target", "staging", "--table", "leef")
    assert ran.code == 15, ran.err
    assert ran.err.splitlines()[:2] == ["error[table-unknown]: no table matches 'leef'", "  nearest names: leaf"]
    assert copies(cli) == []
    assert json.loads(cli("drills", "--json").out) == []


def test_an_empty_table_proves_nothing(cli: Cli, staging: Database) -> None:
    ran = cli("drill", "--target", "staging", "--table", "hollow")
    assert ran.code == 15, ran.err
    assert ran.err.splitlines()[-3:] == [
        "error[table-unknown]: public.hollow held no rows on the copy: losing them proves nothing",
        f"  nothing was broken; the copy is removed; nothing was written to '{cli.live.identifier}'",
        "  help: name tables that have had rows since before the latest restorable time",
    ]
    assert copies(cli) == []
    (held,) = json.loads(cli("drills", "--json").out)
    assert held["passed"] is False


def test_a_second_drill_of_the_same_instance_and_ctrl_c(cli: Cli, staging: Database) -> None:
    before = state(staging)
    first = cli.start("drill", "--target", "staging", "--table", "leaf")
    wait_until(lambda: copies(cli), "the first drill's copy")
    (name,) = copies(cli)[:1]
    first.send_signal(signal.SIGSTOP)  # it must not be over before the others have looked
    second = cli("drill", "--target", "staging", "--table", "leaf")
    emergency = cli(
        "plan",
        cli.live.identifier,
        "--database",
        staging.name,
        "--table",
        "leaf",
        "--wait-for-window",
        "1m",
        "--at",
        format_utc(pass_a_second()),
        "--out",
        "plan.json",
    )
    first.send_signal(signal.SIGINT)
    first.send_signal(signal.SIGCONT)
    _, told = first.communicate(timeout=60)
    assert emergency.code == 0, emergency.err  # a real recovery is not refused because of a drill
    assert second.code == 23, second.err
    assert second.err.splitlines() == [
        f"error[case-open]: '{name}' is there already, a drill's copy of '{cli.live.identifier}'",
        *second.err.splitlines()[1:2],
        "  nothing was created, nothing was written",
        "  help: when no drill is running: rowback reap on the machine that began it, or aws rds delete-db-instance"
        f" --skip-final-snapshot --delete-automated-backups --db-instance-identifier {name}",
    ]
    assert first.returncode == 130, told
    assert copies(cli) == []
    assert state(staging) == before


def test_a_copy_that_does_not_come_up_is_removed(cli: Cli, staging: Database) -> None:
    cli.live.lab.engine.faults.next_restores.append("incompatible-restore")
    ran = cli("drill", "--target", "staging", "--table", "leaf")
    assert ran.code == 50, ran.err
    lines = ran.err.splitlines()
    assert lines[-2:] == [
        f"  nothing was broken; the copy is removed; nothing was written to '{cli.live.identifier}'",
        "  help: run the drill again once the reason is gone",
    ]
    assert copies(cli) == []


def test_a_repair_that_fails_is_given_up_and_leaves_nothing(cli: Cli, staging: Database) -> None:
    before = state(staging)
    drill = cli.start("drill", "--target", "staging", "--table", "leaf")
    instances = cli.live.lab.engine.instances
    wait_until(lambda: any(instances[n].status == "available" for n in copies(cli)), "the drill's copy")
    cli.live.lab.engine.faults.next_restores.append("storage-full")
    _, told = drill.communicate(timeout=60)
    assert drill.returncode == 50, told
    (case,) = json.loads(cli("cases", "--json").out)
    copy = f"rowback-{case['case']}"
    assert told.splitlines()[-5:] == [
        f"error[copy-failed]: copy '{copy}' is 'storage-full', which is final",
        f"  give it more storage: aws rds modify-db-instance --db-instance-identifier {copy} --allocated-storage GIB",
        f"  RDS's reason: aws rds describe-events --source-type db-instance --duration 1440 --source-identifier {copy}",
        "  the drill failed; its copies are removed",
        f"  help: what happened: rowback report {case['case']} --format md",
    ]
    assert case["outcome"] == "closed without change"
    assert copies(cli) == []
    assert state(staging) == before


def test_the_copy_of_a_killed_drill_is_reaped(cli: Cli, staging: Database) -> None:
    drill = cli.start("drill", "--target", "staging", "--table", "leaf")
    wait_until(lambda: copies(cli), "the drill's copy")
    busy = cli("reap")
    drill.kill()
    drill.communicate(timeout=30)
    (name,) = copies(cli)
    run = name.removeprefix("rowback-")
    assert busy.out == f"{name}: kept: {run} is being driven by another process\n"
    stranger = cli("reap", ROWBACK_HOME=str(cli.home / "another"))
    assert stranger.out == (
        f"{name}: kept: case '{run}' has no journal on this machine, so its resource id cannot be proven\n"
    )
    assert copies(cli) == [name]
    assert cli("reap").out == f"{name}: removed\n"
    assert copies(cli) == []
    assert list((cli.home / "rehearsals").iterdir()) == []
