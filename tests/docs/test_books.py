"""Every book that comes with rowback, performed on the lab from beginning to end, and complete without being run."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest

from recovery.model.target import format_utc
from runbooks.book.document import Note
from runbooks.book.lint import lint
from runbooks.book.parse_book import books_directory, find_book, read_book
from runbooks.lab.background import FAULTS, pass_a_second
from runbooks.lab.lab_server import REGION, Lab
from runbooks.lab.sample_data import load_docs
from runbooks.steps.person_steps import Approve, Confirm
from tests.fix_cli import Cli, Ran, restoring, the_case
from tests.fix_lab import Database, Live, discard, rds_client, wait_until
from tests.schema_dump import definitions, in_any_order

pytestmark = pytest.mark.drill

BOOKS = sorted(path.stem for path in books_directory().glob("*.md"))
DIGEST = "select count(*), md5(string_agg(t::text, '|' order by t::text)) from {} t"


def logging(live: Live, statements: str) -> None:
    cluster = live.lab.engine.instances[live.identifier].cluster
    cluster.settings |= {"log_statement": statements, "log_destination": "stderr,csvlog"}
    cluster.reload()
    with live.connect() as session:
        wait_until(lambda: session.execute("show log_statement").fetchone() == (statements,), "it is logged so")


@pytest.fixture
def docs(live: Live, database: Database) -> Database:
    """A small documents product; every statement is logged from now on, as csvlog with its transaction."""
    logging(live, "none")
    with database.connect() as connection:
        load_docs(connection, articles=200, seed=3)
    logging(live, "all")
    return database


@pytest.fixture(scope="session")
def colleague(lab: Lab) -> dict[str, str]:
    """AWS credentials of another person."""
    iam = boto3.client(
        "iam",
        endpoint_url=f"http://127.0.0.1:{lab.port}",
        region_name=REGION,
        aws_access_key_id="lab",
        aws_secret_access_key="lab",
    )
    iam.create_user(UserName="colleague")
    key = iam.create_access_key(UserName="colleague")["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


def perform(cli: Cli, name: str, colleague: dict[str, str], given: dict[str, str], **environment: str) -> Ran:
    """As two people do it: one runs the book, the other approves what waits for them."""
    book = read_book(find_book(name))
    looked = [word for step in book.steps if isinstance(step, Confirm) for word in ("--confirmed", step.id)]
    pairs = [word for pair in given.items() for word in ("-p", "=".join(pair))]
    ran = cli("runbook", "run", name, *pairs, "--mode", "auto", *looked, **environment)
    for step in book.steps:
        if isinstance(step, Approve):
            assert ran.code == 61, ran.err
            id = json.loads(cli("runbook", "runs", "--json").out)[-1]["run"]
            assert cli("runbook", "approve", id, step.id, "--by", "colleague", **colleague).code == 0
            ran = cli("runbook", "resume", id, **environment)
    assert ran.code == 0, ran.err
    return ran


def broken(database: Database, fault: str) -> tuple[str, str]:
    """A time just before a fault, and its transaction."""
    moment = pass_a_second()
    with database.connect() as connection, connection.transaction():
        for statement in FAULTS[fault]:
            connection.execute(statement)
        row = connection.execute("select pg_current_xact_id()::text::bigint % 4294967296").fetchone()
    assert row
    database.run("select 1")
    return format_utc(moment), str(row[0])


def content(database: Database, table: str) -> Any:
    return database.rows(DIGEST.format(table))[0]


def where(cli: Cli, database: Database) -> dict[str, str]:
    return {"instance": cli.live.identifier, "database": database.name}


@pytest.mark.parametrize("name", BOOKS)
def test_a_book_is_complete_without_being_run(name: str) -> None:
    assert lint(find_book(name)) == []
    book = read_book(find_book(name))
    prose = sum(len(part.text.split()) for section in book.sections for part in section.parts if isinstance(part, Note))
    assert prose > 30, "it says why, not only what"
    assert all(parameter.help and (parameter.example or parameter.default) for parameter in book.parameters)
    links = re.findall(r"\]\((?!http)([^)]+)\)", book.text)
    assert all((books_directory() / link).exists() for link in links)


def test_truncated_tables(cli: Cli, docs: Database, colleague: dict[str, str]) -> None:
    before = content(docs, "content.articles")
    broken(docs, "truncate")
    assert content(docs, "content.articles")[0] == 0
    perform(cli, "truncated-tables", colleague, where(cli, docs))
    assert content(docs, "content.articles") == before


def test_bad_update(cli: Cli, docs: Database, colleague: dict[str, str]) -> None:
    before = content(docs, "content.articles")
    _, xid = broken(docs, "bad-update")
    perform(cli, "bad-update", colleague, {**where(cli, docs), "table": "content.articles", "xid": xid})
    assert content(docs, "content.articles") == before


@pytest.mark.drill
def test_bad_delete_found_late(cli: Cli, docs: Database, colleague: dict[str, str]) -> None:
    before = content(docs, "content.spaces")
    at, _ = broken(docs, "bad-delete")
    docs.run("insert into content.tags (name) values ('written since')")
    perform(cli, "bad-delete-found-late", colleague, {**where(cli, docs), "table": "content.spaces", "at": at})
    assert content(docs, "content.spaces") == before
    assert docs.rows("select count(*) from content.tags where name = 'written since'") == [(1,)]


@pytest.mark.drill
def test_wrong_migration(cli: Cli, docs: Database, colleague: dict[str, str]) -> None:
    before = docs.rows("select sum(rating) from content.articles")
    at = format_utc(pass_a_second())
    docs.run("alter table content.articles drop column rating")
    perform(cli, "wrong-migration", colleague, {**where(cli, docs), "table": "content.articles", "at": at})
    ((schema,),) = docs.rows("select nspname from pg_namespace where nspname like 'recovered%'")
    assert docs.rows(f'select sum(rating) from "{schema}"."content.articles"') == before


@pytest.mark.drill
def test_dropped_columns(cli: Cli, docs: Database, colleague: dict[str, str]) -> None:
    ratings = "select article_id, rating, title from content.articles order by 1"
    before, defined = docs.rows(ratings), in_any_order(definitions(docs))
    at = format_utc(pass_a_second())
    docs.run("alter table content.articles drop column rating, drop column title cascade")
    perform(cli, "dropped-columns", colleague, {**where(cli, docs), "table": "content.articles", "at": at})
    assert docs.rows(ratings) == before
    assert in_any_order(definitions(docs)) == defined


def test_dropped_objects(cli: Cli, docs: Database, colleague: dict[str, str]) -> None:
    before, defined = content(docs, "content.spaces"), definitions(docs)
    at = format_utc(pass_a_second())
    docs.run("drop table content.spaces cascade")
    perform(cli, "dropped-objects", colleague, {**where(cli, docs), "table": "content.spaces", "at": at})
    assert content(docs, "content.spaces") == before
    assert definitions(docs) == defined


@pytest.mark.drill
def test_lost_instance(
    cli: Cli, lab: Lab, colleague: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.create_instance("doomed", PubliclyAccessible=False)
    resource = lab.engine.instances["doomed"].resource_id
    at = format_utc(pass_a_second())
    rds_client(lab).delete_db_instance(
        DBInstanceIdentifier="doomed", SkipFinalSnapshot=True, DeleteAutomatedBackups=False
    )
    wait_until(lambda: "doomed" not in lab.engine.instances, "the instance is gone")
    programs = tmp_path / "bin"
    programs.mkdir()
    script = Path(__file__).with_name("aws_by_boto3.py")
    (programs / "aws").write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n')
    (programs / "aws").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    perform(
        cli,
        "lost-instance",
        colleague,
        {
            "resource": resource,
            "new": "doomed-2",
            "at": at,
            "class": "db.t4g.medium",
            "subnet_group": "default",
            "security_groups": "sg-12345678",
            "parameter_group": "default.postgres17",
        },
    )
    assert lab.engine.instances["doomed-2"].status == "available"
    discard(lab, lambda name: name == "doomed-2")


@pytest.mark.drill
def test_restored_then_still_wrong(cli: Cli, docs: Database, colleague: dict[str, str]) -> None:
    before = content(docs, "content.tags")
    earlier = format_utc(pass_a_second())
    docs.run("delete from content.article_tags", "delete from content.tags where tag_id % 2 = 0")
    too_late = pass_a_second()
    docs.run("delete from content.tags")
    assert cli(*restoring(cli, docs, too_late)).code == 0
    case = the_case(cli)["case"]
    assert 0 < content(docs, "content.tags")[0] < before[0]
    perform(cli, "restored-then-still-wrong", colleague, {**where(cli, docs), "case": case, "earlier": earlier})
    assert content(docs, "content.tags") == before


@pytest.mark.drill
def test_partial_loss_with_newer_writes(cli: Cli, docs: Database, colleague: dict[str, str]) -> None:
    others = "content.articles where article_id not in (1, 2)"
    states = f"select count(*), sum(rating), string_agg(state::text, '' order by article_id) from {others}"
    before = docs.rows(states)
    at, xid = broken(docs, "bad-update")
    docs.run("update content.articles set title = 'edited since' where article_id in (1, 2)")
    perform(cli, "partial-loss-with-newer-writes", colleague, {**where(cli, docs), "at": at, "xid": xid})
    assert docs.rows("select count(*) from content.articles where title = 'edited since'") == [(2,)]
    assert (
        docs.rows(f"select count(*), sum(rating), string_agg(state::text, '' order by article_id) from {others}")
        == before
    )


@pytest.mark.drill
def test_cross_service_inconsistency(cli: Cli, docs: Database, live: Live, colleague: dict[str, str]) -> None:
    target = pass_a_second()
    docs.run("truncate content.tags cascade")
    assert cli(*restoring(cli, docs, target)).code == 0
    perform(
        cli,
        "cross-service-inconsistency",
        colleague,
        {**where(cli, docs), "case": the_case(cli)["case"]},
        OTHER_DSN=live.dsn(docs.name),
    )


def test_guard_refused_my_tests(cli: Cli, database: Database, colleague: dict[str, str]) -> None:
    dsn = f"host=127.0.0.1 port={cli.live.port} dbname={database.name}"
    perform(cli, "guard-refused-my-tests", colleague, {"dsn": dsn, "name": database.name})
    ((comment,),) = database.rows(
        "select shobj_description(oid, 'pg_database') from pg_database where datname = current_database()"
    )
    assert "scratch for tests" in comment


def test_backup_coverage_review(cli: Cli, docs: Database, colleague: dict[str, str]) -> None:
    perform(cli, "backup-coverage-review", colleague, where(cli, docs))


@pytest.mark.drill
def test_monthly_drill(cli: Cli, colleague: dict[str, str]) -> None:
    perform(cli, "monthly-drill", colleague, {"articles": "60"})
    (held,) = json.loads(cli("drills", "--json").out)
    assert (held["passed"], held["target"]) == (True, "lab")


def test_post_incident_report(cli: Cli, docs: Database, colleague: dict[str, str]) -> None:
    target = pass_a_second()
    docs.run("truncate content.tags cascade")
    assert cli(*restoring(cli, docs, target)).code == 0
    case = the_case(cli)["case"]
    perform(cli, "post-incident-report", colleague, {"case": case}, PATH=f"{Path(sys.executable).parent}:/usr/bin:/bin")
    assert "Root cause" in Path(f"incident-{case}.md").read_text()
    assert "<svg" in Path(f"incident-{case}.html").read_text()


def test_each_book_is_performed_here() -> None:
    performed = {name.removeprefix("test_").replace("_", "-") for name in globals() if name.startswith("test_")}
    assert set(BOOKS) <= performed
