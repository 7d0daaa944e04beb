"""Reports in their forms, and who is told on the way."""

from __future__ import annotations

import json
import re
from pathlib import Path

from recovery.model.target import format_utc
from runbooks.lab.background import pass_a_second
from tests.fix_cli import Cli, the_case
from tests.fix_lab import Database
from tests.scenarios.fix_telling import ELSEWHERE
from tests.scenarios.telling.reports import Heard, restore


def test_the_report_in_three_forms(cli: Cli, database: Database, target: str) -> None:
    assert restore(cli, database, target, "--find").code == 0
    case = the_case(cli)["case"]
    story = json.loads(cli("report", case, "--format", "json").out)
    assert story["tables"] == [
        {
            "table": "public.people",
            "classes": {"lost": 2, "new": 1},
            "inserted": 2,
            "updated": 0,
            "deleted": 0,
            "samples": ["1", "2"],
        }
    ]
    assert story["decisions"] == ["public.people: 1 row new", "public.people: all of these are kept"]
    assert story["proof"][0] == "2 rows are as they were at T"
    assert story["cost"].startswith("about $0.00 for the copy (AWS's price list, ")
    assert [each["text"] for each in story["timeline"]][-4:] == [
        "prove the result",
        "the result was compared with T",
        "remove the copy",
        "case closed: recovered",
    ]
    for form in ("text", "md", "html"):
        assert "\\n" not in cli("report", case, "--format", form).out, "a block of lines is no line"
    for form in ("md", "html"):
        text = cli("report", case, "--format", form).out
        for words in ("Incident report", "public.people", "1 row new", "Root cause", "Actions", "case closed"):
            assert words in text, (form, words)
    assert not ELSEWHERE.search(cli("report", case, "--format", "html").out)
    assert "<svg" in cli("report", case, "--format", "html").out


def test_names_are_no_markup(cli: Cli, database: Database) -> None:
    name = '<script>alert(1)</script>|"x" **y**'
    database.run(
        f'''create table "{name.replace('"', '""')}" (id int primary key)''',
        f'''insert into "{name.replace('"', '""')}" values (1)''',
    )
    moment = format_utc(pass_a_second())
    database.run(
        f'''delete from "{name.replace('"', '""')}"''', f'''insert into "{name.replace('"', '""')}" values (2)'''
    )
    assert restore(cli, database, moment).code == 0
    case = the_case(cli)["case"]
    page = cli("report", case, "--format", "html").out
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    row = next(
        line for line in cli("report", case, "--format", "md").out.splitlines() if "alert" in line and "| 1 |" in line
    )
    assert len(re.findall(r"(?<!\\)\|", row)) == 7, "no cell more"


def test_a_case_that_is_not_over_has_a_report_too(cli: Cli, database: Database, target: str) -> None:
    opened = cli("open", cli.live.identifier, "--at", target, "--database", database.name)
    assert opened.code == 0, opened.err
    case = the_case(cli)["case"]
    text = cli("report", case, "--format", "md").out
    assert "not known yet: the copy is still there" in text
    assert f"- copy rowback-{case}" in text
    assert cli("close", case).code == 0


def test_everybody_hears_of_it_and_nobody_is_waited_for(
    cli: Cli, database: Database, target: str, webhook: Heard
) -> None:
    Path("rowback.toml").write_text(
        f'[profiles.p]\n[[profiles.p.notify]]\nurl = "http://127.0.0.1:{webhook.port}/"\n'
        '[[profiles.p.notify]]\nurl_env = "NOWHERE"\n'
        '[[profiles.p.notify]]\nurl = "http://127.0.0.1:1/"\n'
        '[[profiles.p.notify]]\ncommand = ["sh", "-c", "cat >> heard; echo >> heard"]\n'
        '[[profiles.p.notify]]\ncommand = ["false"]\n[[profiles.p.notify]]\ncommand = ["/no/such/program"]\n'
    )
    done = restore(cli, database, target, "--profile", "p")
    assert done.code == 0, done.err
    by_event = [document["event"] for document in webhook.documents]
    assert {by_event[0], *by_event[1:-1], by_event[-1]} == {"opened", "phase", "finished"}
    case = the_case(cli)["case"]
    assert {document["case"] for document in webhook.documents} == {case}
    finished = next(document for document in webhook.documents if document["event"] == "finished")
    assert finished["text"] == f"recovery of '{database.name}' is over: recovered"
    assert '"event": "finished"' in Path("heard").read_text()
    kept = [json.loads(line) for line in (cli.home / "cases" / case / "notifications.jsonl").read_text().splitlines()]
    results = {(line["sink"], line["result"].split(":")[0]) for line in kept}
    assert results == {("webhook", "delivered"), ("webhook", "failed"), ("program", "delivered"), ("program", "failed")}


def test_apprise_is_told_by_an_address_that_stays_secret(
    cli: Cli, database: Database, target: str, webhook: Heard
) -> None:
    Path("rowback.toml").write_text('[profiles.p]\n[[profiles.p.notify]]\napprise_env = "CHAT_ADDRESS"\n')
    address = f"json://127.0.0.1:{webhook.port}/s3cret-path"
    assert restore(cli, database, target, "--profile", "p", CHAT_ADDRESS=address).code == 0
    titles = [str(document.get("title")) for document in webhook.documents]
    assert "rowback: finished" in titles
    kept = (cli.home / "cases" / the_case(cli)["case"] / "notifications.jsonl").read_text()
    assert '"result": "delivered"' in kept
    assert "s3cret-path" not in kept


def test_failures_and_approvals_are_told(cli: Cli, database: Database, target: str, webhook: Heard) -> None:
    Path("rowback.toml").write_text(
        f'[profiles.p]\napprovals_needed = 1\n[[profiles.p.notify]]\nurl = "http://127.0.0.1:{webhook.port}/"\n'
    )
    assert restore(cli, database, target, "--profile", "p").code == 61
    assert "needs-approval" in [document["event"] for document in webhook.documents]
    assert cli("close", the_case(cli)["case"]).code == 0


def test_a_recovery_step_by_step_is_told_as_well(cli: Cli, database: Database, target: str, webhook: Heard) -> None:
    Path("rowback.toml").write_text(f'[profiles.p]\n[[profiles.p.notify]]\nurl = "http://127.0.0.1:{webhook.port}/"\n')
    opened = cli(
        "open",
        cli.live.identifier,
        "--profile",
        "p",
        "--database",
        database.name,
        "--at",
        target,
        "--wait-for-window",
        "1m",
    )
    assert opened.code == 0, opened.err
    case, name = opened.out.strip(), database.name
    digest = cli("diff", case, "--digest").out.strip()
    assert cli("apply", case, digest).code == 21  # nobody has confirmed it
    assert cli("apply", case, digest, "--confirm", name).code == 0
    assert cli("verify", case).code == 0
    assert cli("undo", case, "--confirm", name).code == 0
    told = [(each["event"], each["text"]) for each in webhook.documents if each["event"] != "phase"]
    begins = f"of '{name}' on '{cli.live.identifier}' begins or goes on"
    assert sorted(told) == sorted(
        [
            ("opened", f"copy {begins}"),
            ("finished", f"copy of '{name}' is over"),
            ("opened", f"repair {begins}"),
            ("needs-approval", next(t for e, t in told if e == "needs-approval")),
            ("opened", f"repair {begins}"),
            ("finished", f"repair of '{name}' is over"),
            ("opened", f"undo {begins}"),
            ("finished", f"undo of '{name}' is over"),
        ]
    )
    assert cli("close", case).code == 0
