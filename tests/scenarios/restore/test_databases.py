"""Whole databases and tables come back, and a finished case is looked at."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recovery.model.target import format_utc
from runbooks.lab.background import pass_a_second
from tests.fix_cli import Cli, restoring
from tests.fix_lab import Database
from tests.scenarios.restore.contents import CONTENT, TRUNCATE, digests, docs


@pytest.mark.parametrize("transport", ["dump", "copy"])
def test_a_truncated_database_comes_back_and_nothing_else_moves(cli: Cli, database: Database, transport: str) -> None:
    held, target = docs(database)
    database.run(TRUNCATE, "insert into ops.audit_log (article_id, what) values (9, 'after')")
    kept = digests(database, "ops.audit_log", "ops.schema_migrations", "content.tags")
    tables = ("--table", "content.spaces", "--table", "content.members")
    ran = cli(*restoring(cli, database, target, *tables, "--transport", transport, "--json"))
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    assert digests(database, *(f"content.{name}" for name in CONTENT)) == {
        f"content.{name}": held[f"content.{name}"] for name in CONTENT
    }
    assert digests(database, *kept) == kept
    assert report["outcome"] == "recovered"
    assert report["copy_removed"] is True
    assert {t["table"]["name"] for t in report["verification"]["tables"]} == {
        n.strip('"') for n in CONTENT if n != "tags"
    }
    assert all(t["at_target"] == t["now"] for t in report["verification"]["tables"])
    assert report["held_triggers"] == ["content.articles: articles_audit", "content.articles: articles_touch"]
    assert [phase["step"] for phase in report["phases"]] == [
        "check-facts",
        "start-copy",
        "await-copy",
        "secure-copy",
        "read-target",
        "diff",
        "extract",
        "load",
        "verify",
        "remove-copy",
    ]
    assert set(cli.live.lab.engine.instances) & {report["copy_instance"]} == set()
    # the sequences were restarted by TRUNCATE: the next row must not collide
    ((number,),) = database.rows(
        "insert into content.members (email, display_name, joined_at) values ('n', 'n', now()) returning member_id"
    )
    assert number > held["content.members"][0]
    leftovers = [path.name for path in cli.home.rglob("*") if "dump" in path.name or path.name == "reserve"]
    assert leftovers == []


def test_the_whole_database_from_a_plan_file(cli: Cli, database: Database) -> None:
    held, target = docs(database)
    database.run(TRUNCATE, "truncate content.tags cascade")
    at = ["--at", format_utc(target), "--database", database.name, "--except", "ops.*"]
    planned = cli("plan", cli.live.identifier, *at, "--out", "my.plan", "--json")
    assert planned.code == 0, planned.err
    said = json.loads(planned.out)
    assert said.pop("outlook")["replay_s"] >= 0, "beside the plan, not part of it"
    assert said == json.loads(Path("my.plan").read_text())
    dry = cli("restore", cli.live.identifier, *at, "--dry-run")
    assert dry.code == 0
    assert "10 tables" in dry.out
    assert dry.err.endswith("dry run: nothing was created, nothing was written\n")
    assert cli("cases").out == "no cases yet\n"
    ran = cli("restore", "--plan", "my.plan", "--confirm", database.name)
    assert ran.code == 0, ran.err
    assert digests(database, *held) == held
    assert f"'{database.name}' on '{cli.live.identifier}' is back as of {format_utc(target)}" in ran.out
    again = cli("restore", "--plan", "my.plan", "--confirm", database.name)
    assert again.code == 22
    assert "table content.articles holds 60 rows now; the plan was made when it was empty" in again.err


def test_looking_at_a_finished_case(cli: Cli, database: Database) -> None:
    database.run("create table t (n int)", "insert into t values (1)")
    target = pass_a_second()
    database.run("truncate t")
    cli(*restoring(cli, database, target))
    case = json.loads(cli("cases", "--json").out)[0]["case"]
    assert cli("cases").out.splitlines()[1].split() == [
        case,
        cli.live.identifier,
        database.name,
        format_utc(target),
        "recovered",
    ]
    status = cli("status", case[-4:])
    assert status.out.splitlines()[0] == f"case {case}: recovered"
    assert [line.split()[1] for line in status.out.splitlines()[1:]] == [
        "check-facts",
        "start-copy",
        "await-copy",
        "secure-copy",
        "read-target",
        "diff",
        "extract",
        "load",
        "verify",
        "remove-copy",
    ]
    assert all(line.split()[0] == "✓" for line in status.out.splitlines()[1:])
    assert json.loads(cli("status", case, "--json").out) == {
        "case": case,
        "outcome": "recovered",
        "taken_back": False,
        "driven": False,
        "steps": dict.fromkeys([line.split()[1] for line in status.out.splitlines()[1:]], True),
        "account": [
            {
                "table": "public.t",
                "at_target": 1,
                "back": 1,
                "never_gone": 0,
                "kept_newer": 0,
                "conflict": 0,
                "blocked": [],
                "left_out": [],
                "moved": [],
                "not_deleted": [],
            }
        ],
    }
    assert json.loads(cli("report", case, "--json").out)["case"] == case
    resumed = cli("resume", case)
    assert (resumed.code, resumed.err) == (0, f"case {case} is closed already: recovered\n")
    closed = cli("close", case)
    assert (closed.code, closed.err) == (0, f"case {case} is closed already: recovered\n")
    assert cli("reap").out == "no copies exist\n"
