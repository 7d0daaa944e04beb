"""What of the original would keep its copy from being reached or from being harmless is known before it is made."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from recovery.config import Profile
from recovery.errors import RowbackError
from recovery.model.instance import CopySettings, Endpoint
from recovery.planning.copy_surroundings import surroundings_notices
from recovery.planning.original_login import by_token_on_copy
from recovery.postgres.connect import connect
from recovery.postgres.connection_target import Target
from runbooks.lab.background import pass_a_second
from runbooks.lab.lab_state import Parameters
from tests.fix_cli import Cli, restoring, the_case
from tests.fix_instances import instance
from tests.fix_lab import Database, end_instance
from tests.scenarios.refusals.requests import NOTHING

INSTANCE_UNSUITABLE = 17
ROWS = "select count(*), sum(hashtextextended(t::text, 0)) from t"


@pytest.fixture
def target(database: Database) -> datetime:
    database.run("create table t (n int primary key)", "insert into t select generate_series(1, 300)")
    moment = pass_a_second()
    database.run("delete from t where n > 100")
    return moment


def no_copy(cli: Cli) -> bool:
    return [name for name in cli.live.lab.engine.instances if name.startswith("rowback-")] == []


@pytest.fixture(params=["enable", "disable"])
def subscribed(cli: Cli, request: pytest.FixtureRequest) -> Iterator[str]:
    """A subscription in another database of the instance. One that is disabled now may have been enabled at T."""
    cluster = cli.live.lab.engine.instances[cli.live.identifier].cluster
    with psycopg.connect(cluster.dsn(), autocommit=True) as admin:
        admin.execute(
            "create subscription fed connection 'host=192.0.2.1 dbname=x' publication p"
            " with (connect = false, slot_name = 'theirs')"
        )
        admin.execute(f"alter subscription fed {request.param}")
        yield "fed of postgres"
        admin.execute("alter subscription fed disable")
        admin.execute("alter subscription fed set (slot_name = none)")
        admin.execute("drop subscription fed")


def test_a_copy_that_would_take_from_the_same_slots_is_not_made(
    cli: Cli, database: Database, target: datetime, subscribed: str
) -> None:
    before = database.rows(ROWS)
    ran = cli(*restoring(cli, database, target))
    name, major = cli.live.identifier, cli.live.lab.engine.tools.major
    assert (ran.code, ran.err) == (
        INSTANCE_UNSUITABLE,
        f"error[instance-unsuitable]: '{name}' is subscribed ({subscribed}), and its copy would be as well: until it is"
        " taken over it would take changes from the same slots, which the original then never gets\n"
        f"  {NOTHING}\n"
        "  help: make a parameter group without workers once: aws rds create-db-parameter-group"
        f" --db-parameter-group-name {name}-copy --db-parameter-group-family postgres{major} --description rowback,"
        f" then aws rds modify-db-parameter-group --db-parameter-group-name {name}-copy --parameters"
        " ParameterName=max_logical_replication_workers,ParameterValue=0,ApplyMethod=pending-reboot; then"
        f' copy_parameter_group = "{name}-copy" in rowback.toml, or --copy-parameter-group {name}-copy\n',
    )
    assert no_copy(cli)
    assert database.rows(ROWS) == before


@pytest.mark.parametrize(("values", "code"), [({"max_logical_replication_workers": "0"}, 0), ({}, INSTANCE_UNSUITABLE)])
def test_a_parameter_group_without_workers_keeps_it_from_that(
    cli: Cli, database: Database, target: datetime, subscribed: str, values: dict[str, str], code: int
) -> None:
    engine = cli.live.lab.engine
    engine.parameters["contained"] = Parameters("contained", f"postgres{engine.tools.major}", "x", values)
    try:
        ran = cli(*restoring(cli, database, target, "--copy-parameter-group", "contained"))
    finally:
        del engine.parameters["contained"]
    assert ran.code == code, ran.err
    if code:
        assert "  parameter group 'contained' does not set max_logical_replication_workers to 0\n" in ran.err
        assert no_copy(cli)
    else:
        assert database.rows("select count(*), sum(n) from t") == [(300, 45150)]


def resolving(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """This machine's resolver says so of every name."""

    def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 5432))]

    monkeypatch.setattr("recovery.planning.copy_surroundings.getaddrinfo", getaddrinfo)


def test_an_original_that_is_reached_from_outside_has_no_copy_that_is(
    cli: Cli, database: Database, target: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    attributes = cli.live.lab.engine.instances[cli.live.identifier].attributes
    monkeypatch.setitem(attributes, "PubliclyAccessible", True)
    with monkeypatch.context() as outside:
        resolving(outside, "52.95.110.1")
        ran = cli(*restoring(cli, database, target))
    assert (ran.code, ran.err) == (
        INSTANCE_UNSUITABLE,
        f"error[instance-unsuitable]: '{cli.live.identifier}' is reached at its public address 52.95.110.1 from here,"
        f" and its copy will have none\n  {NOTHING}\n"
        "  help: run it inside the VPC, or through a tunnel (rowback.toml); where private addresses of the VPC are"
        " reached from here: inside_vpc = true in rowback.toml, or --inside-vpc\n",
    )
    assert no_copy(cli)
    assert cli(*restoring(cli, database, target)).code == 0, "inside, its name is private"


def test_who_reaches_the_vpc_says_so(
    cli: Cli, database: Database, target: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    attributes = cli.live.lab.engine.instances[cli.live.identifier].attributes
    monkeypatch.setitem(attributes, "PubliclyAccessible", True)
    planning = ["plan", *restoring(cli, database, target)[1:-2], "--inside-vpc"]
    with monkeypatch.context() as outside:
        resolving(outside, "52.95.110.1")
        ran = cli(*planning)
    assert ran.code == 0, ran.err


@pytest.mark.parametrize(
    ("at_target", "since"),
    [
        ("grant rds_iam to postgres", None),
        ("grant rds_iam to postgres", "revoke rds_iam from postgres"),
        (None, "grant rds_iam to postgres"),
    ],
)
def test_a_master_user_who_is_let_in_by_token_alone(cli: Cli, at_target: str | None, since: str | None) -> None:
    """RDS asks members of rds_iam for no password, the master user of the copy neither: it is one as it was at T."""
    lab = cli.live.lab
    lab.create_instance("tokened", EnableIAMDatabaseAuthentication=True)
    cluster = lab.engine.instances["tokened"].cluster
    try:
        with psycopg.connect(cluster.dsn("postgres"), autocommit=True) as admin:
            admin.execute("create role app login password 'of-the-app-1'")
            admin.execute("create database shop owner app")
        with psycopg.connect(cluster.dsn("shop"), autocommit=True) as admin:
            admin.execute("create table t (n int primary key)")
            admin.execute("insert into t select generate_series(1, 50)")
            admin.execute("alter table t owner to app")
            admin.execute("grant all on t to postgres")
            if at_target:
                admin.execute(at_target)
            moment = pass_a_second()
            admin.execute("delete from t where n > 10")
            if since:
                admin.execute(since)
        arguments = ["restore", "tokened", *restoring(cli, Database(cli.live, "shop"), moment)[2:]]
        ran = cli(*arguments, PGUSER="app", PGPASSWORD="of-the-app-1")
        assert ran.code == 0, ran.err
        assert "the copy is made with IAM authentication: should master user postgres have been a member" in ran.err
        assert the_case(cli)["outcome"] == "recovered"
        with psycopg.connect(cluster.dsn("shop")) as admin:
            assert admin.execute("select count(*), sum(n) from t").fetchall() == [(50, 1275)]
    finally:
        end_instance(lab, "tokened")


def test_a_drill_logs_in_by_token_as_well(cli: Cli, tmp_path: Path) -> None:
    """To the copy that it breaks, after the wait for its backup, and to the copy of that."""
    lab = cli.live.lab
    lab.create_instance("drilled", EnableIAMDatabaseAuthentication=True)
    cluster = lab.engine.instances["drilled"].cluster
    (tmp_path / "rowback.toml").write_text('[profiles.far]\ninstance = "drilled"\ndatabase = "shop"\n')
    try:
        with psycopg.connect(cluster.dsn("postgres"), autocommit=True) as admin:
            admin.execute("create role app login password 'of-the-app-1'")
            admin.execute("create database shop owner app")
        with psycopg.connect(cluster.dsn("shop"), autocommit=True) as admin:
            admin.execute("create table t (n int primary key)")
            admin.execute("insert into t select generate_series(1, 50)")
            admin.execute("grant all on t to postgres, app")
            admin.execute("alter table t owner to postgres")
            admin.execute("grant rds_iam to postgres")
            pass_a_second()
            pass_a_second()
        ran = cli("drill", "--target", "far", "--table", "t", "--json", PGUSER="app", PGPASSWORD="of-the-app-1")
        assert ran.code == 0, ran.err
        assert json.loads(ran.out)["restored"] is True
        with psycopg.connect(cluster.dsn("shop")) as admin:
            assert admin.execute("select count(*), sum(n) from t").fetchall() == [(50, 1275)], "it was never touched"
        assert no_copy(cli)
    finally:
        end_instance(lab, "drilled")


def test_the_token_is_for_the_copy_and_its_master_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "lab")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "lab")
    facts = instance(endpoint=Endpoint(host="rowback-x.abc.eu-west-1.rds.amazonaws.com", port=5432))
    target = by_token_on_copy(facts, "shop", Profile())
    assert target.user == facts.master_username
    token = urlsplit(f"https://{target.password}")
    assert (token.hostname, token.port) == ("rowback-x.abc.eu-west-1.rds.amazonaws.com", 5432)
    query = parse_qs(token.query)
    assert (query["Action"], query["DBUser"], query["X-Amz-Expires"]) == (["connect"], [facts.master_username], ["900"])
    assert "/eu-west-1/rds-db/aws4_request" in query["X-Amz-Credential"][0]


@pytest.mark.parametrize(
    ("size_gib", "words"),
    [
        (0.5, []),
        (
            40,
            [
                "a copy's blocks are loaded from S3 when they are first read: these tables are 40 GiB now, at some 50"
                " MiB a second in each of 4 sessions 3 min; the wait says how far RDS is"
            ],
        ),
        (
            1000,
            [
                "a copy's blocks are loaded from S3 when they are first read: these tables are 1,000 GiB now, at some"
                " 50 MiB a second in each of 4 sessions 1.4 h; the wait says how far RDS is"
            ],
        ),
    ],
)
def test_how_long_the_first_reading_takes_is_said(database: Database, size_gib: float, words: list[str]) -> None:
    settings = CopySettings.like(instance(), instance_class=None, expires_after_hours=1)
    with connect(database.target()) as original:
        assert list(surroundings_notices(original, instance(), settings, int(size_gib * 2**30))) == words


@pytest.mark.parametrize(("token", "said"), [("x", True), ("", False)])
def test_credentials_that_end_are_said_to(
    database: Database, monkeypatch: pytest.MonkeyPatch, token: str, said: bool
) -> None:
    """An exported session ends within the hour, and a restore takes longer."""
    for name, value in (("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b"), ("SESSION_TOKEN", token)):
        monkeypatch.setenv(f"AWS_{name}", value)
    settings = CopySettings.like(instance(), instance_class=None, expires_after_hours=1)
    with connect(database.target()) as original:
        notices = list(surroundings_notices(original, instance(), settings, 0))
    assert any("are a session's, in the environment, and nothing renews them" in each for each in notices) is said


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("x.abc.eu-west-1.rds.amazonaws.com", "download RDS's global-bundle.pem and name it"),
        ("x.abc.rds.cn-north-1.amazonaws.com.cn", "global-bundle.pem of the China regions, which is another one, and"),
        ("x.abc.us-gov-west-1.rds.amazonaws.com", "global-bundle.pem of AWS GovCloud (US), which is another one, and"),
    ],
)
def test_the_bundle_is_that_of_the_partition(monkeypatch: pytest.MonkeyPatch, host: str, words: str) -> None:
    monkeypatch.setenv("PGSSLROOTCERT", "/nowhere.pem")
    with pytest.raises(RowbackError) as missing:
        Target("x", Endpoint(host=host, port=5432), "d", "u").parameters()
    assert words in str(missing.value.help)


def test_commands_that_are_printed_say_how_the_copy_is_made(
    cli: Cli, database: Database, target: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan whose facts changed leads to another plan, which is not refused for want of an option."""
    engine = cli.live.lab.engine
    engine.parameters["chosen"] = Parameters("chosen", f"postgres{engine.tools.major}", "x", {})
    options = ("--copy-parameter-group", "chosen", "--inside-vpc", "--out", "p.json")
    planned = cli("plan", *restoring(cli, database, target)[1:-2], *options)
    assert planned.code == 0, planned.err
    database.run("drop table t", "create table u (n int)")
    try:
        refused = cli("restore", "--plan", "p.json", "--confirm", database.name)
    finally:
        del engine.parameters["chosen"]
    assert refused.code == 22, refused.err
    assert "help: make a new plan: rowback plan " in refused.err
    assert "--copy-parameter-group chosen --inside-vpc" in refused.err


def test_a_protected_copy_is_left_to_its_case(cli: Cli, database: Database, target: datetime) -> None:
    """A person may have protected it as evidence: reap leaves it; close takes that back, also where a rule insists."""
    opened = cli("open", *restoring(cli, database, target)[1:-2])
    assert opened.code == 0, opened.err
    case, faults = opened.out.strip(), cli.live.lab.engine.faults
    copy = cli.live.lab.engine.instances[f"rowback-{case}"]
    copy.tags["rowback:expires"] = "2020-01-01T00:00:00Z"
    copy.attributes["DeletionProtection"] = True
    reaped = cli("reap")
    kept = f"kept: it is protected from deletion, by a person or a rule: rowback close {case} takes that back"
    assert kept in reaped.out, reaped.err
    assert copy.identifier in cli.live.lab.engine.instances
    faults.remediation = True
    try:
        closed = cli("close", case)
    finally:
        faults.remediation = False
    assert closed.code == 0, closed.err
    assert copy.identifier not in cli.live.lab.engine.instances
