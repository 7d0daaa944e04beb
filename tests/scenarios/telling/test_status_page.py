"""The page on disk and in a browser, and secrets that appear nowhere."""

from __future__ import annotations

import http.client
import json
import re
from pathlib import Path
from typing import Any

import pytest

from recovery.report.status_server import serve
from recovery.report.status_words import LANGUAGES, WORDS
from recovery.store.case_directory import all_cases, read_case
from recovery.workflow.case_status import current_status
from tests.fix_browser import requested
from tests.fix_cli import Cli, the_case
from tests.fix_lab import Database, wait_until
from tests.scenarios.fix_telling import ELSEWHERE
from tests.scenarios.telling.reports import Heard, restore


def get(url: str, method: str = "GET") -> tuple[int, dict[str, str], str]:
    host, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=10)
    connection.request(method, f"/{path}")
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read().decode()
    connection.close()
    return found


def test_the_page_is_only_for_who_knows_its_address(
    cli: Cli, database: Database, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert restore(cli, database, target).code == 0
    monkeypatch.setenv("ROWBACK_HOME", str(cli.home))
    case, past = read_case(the_case(cli)["case"]), all_cases()
    server, url = serve(lambda: current_status(case, past))
    try:
        code, headers, page = get(url)
        assert code == 200
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert "Recovered" in page
        assert "복구가 끝났습니다" in page
        base = url.rsplit("/", 2)[0]
        assert [get(f"{base}/{path}")[0] for path in ("", "wrong/", "wrong/events", "favicon.ico")] == [404] * 4
        assert get(url + "other")[0] == 404
        assert {get(url, method)[0] for method in ("POST", "PUT", "DELETE", "HEAD", "OPTIONS")} == {405}
        assert server.server_address[0] == "127.0.0.1"
    finally:
        server.shutdown()
    kept = (cli.home / "cases" / case.id / "status.html").read_text()
    assert "EventSource" not in kept
    assert "2 rows are back, and were checked one by one." in kept
    assert not ELSEWHERE.search(kept)


def page_of(cli: Cli) -> str:
    (page,) = (cli.home / "cases").glob("*/status.html")
    return page.read_text()


def test_the_page_on_disk_tells_the_truth_at_every_turn(cli: Cli, database: Database, target: str) -> None:
    assert cli("open", cli.live.identifier, "--at", target, "--database", database.name).code == 0
    case = the_case(cli)["case"]
    assert "Paused" in page_of(cli)
    digest = cli("diff", case, "--digest").out.strip()[:8]
    assert "Waiting for a decision" in page_of(cli)
    assert "Nothing has been written to the real database yet." in page_of(cli)
    assert cli("apply", case, digest, "--confirm", database.name).code == 0
    assert "2 rows are back, and were checked one by one." in page_of(cli)
    assert "Recovered" in page_of(cli)
    assert cli("undo", case, "--confirm", database.name).code == 0
    assert "What was put back was taken out again" in page_of(cli)
    assert "2 rows are back" not in page_of(cli)
    assert cli("close", case).code == 0
    assert "What was put back was taken out again" in page_of(cli)


def test_the_page_promises_nothing_that_the_mode_does_not_keep(cli: Cli, database: Database, target: str) -> None:
    opened = cli("open", cli.live.identifier, "--at", target, "--database", database.name, "--mode", "replace")
    assert opened.code == 0, opened.err
    assert "What was written since then is kept." not in page_of(cli)
    assert cli("close", the_case(cli)["case"]).code == 0


def test_a_report_says_what_mode_replace_lost(cli: Cli, database: Database, target: str) -> None:
    done = restore(cli, database, target, "--mode", "replace", "--confirm-loss", "1")
    assert done.code == 0, done.err
    story = json.loads(cli("report", the_case(cli)["case"], "--format", "json").out)
    assert story["decisions"] == [
        "public.people: 1 row new",
        "public.people: 1 of them LOST what was written after T (mode replace)",
    ]


def test_every_phrase_is_there_in_both_languages() -> None:
    assert all(len(said) == len(LANGUAGES) and all(said) for said in WORDS.values())
    assert all(set(re.findall(r"\{\w+\}", en)) == set(re.findall(r"\{\w+\}", ko)) for en, ko in WORDS.values())


SIDEWAYS = "const page = document.documentElement; return [page.scrollWidth, page.clientWidth]"


WIDTHS = {"phone": (390, 844), "desktop": (1280, 900)}


def shows(browser: Any, text: str) -> bool:
    return text in browser.execute_script("return document.body.innerText")


@pytest.mark.parametrize("width", WIDTHS)
def test_the_status_page_in_a_browser(
    cli: Cli, database: Database, target: str, browser: Any, width: str, tmp_path: Path
) -> None:
    """While a recovery runs: what is shown, in both languages; updates without a reload; nothing from elsewhere."""
    faults = cli.live.lab.engine.faults
    faults.creating_delay_s = 3.0
    recovering = cli.start(
        "restore", cli.live.identifier, "--at", target, "--database", database.name, "--confirm", database.name
    )
    try:
        wait_until(lambda: list((cli.home / "cases").glob("*/status.html")), "the case is open")
        case = the_case(cli)["case"]
        serving = cli.start("status", case, "--serve")
        assert serving.stdout
        url = serving.stdout.readline().strip()
        browser.set_window_size(*WIDTHS[width])
        browser.get(f"{url}#en")
        wait_until(lambda: shows(browser, "Waiting until Amazon has restored the copy"), "what is being done")
        assert shows(browser, "Recovery is under way")
        assert shows(browser, "Nothing has been written to the real database yet.")
        assert not shows(browser, "복구가 진행 중입니다"), "one language at a time"
        browser.save_screenshot(str(tmp_path / f"{width}-working.png"))
        browser.execute_script("document.querySelector('[data-to=ko]').click()")
        assert shows(browser, "복구가 진행 중입니다")
        assert not shows(browser, "Recovery is under way")
        browser.save_screenshot(str(tmp_path / f"{width}-korean.png"))
        recovering.communicate(timeout=60)
        wait_until(lambda: shows(browser, "복구가 끝났습니다"), "the page hears of the end without a reload")
        browser.execute_script("document.querySelector('[data-to=en]').click()")
        assert shows(browser, "2 rows are back, and were checked one by one.")
        assert shows(browser, "100% done")
        wide = browser.execute_script(
            "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert wide[0] <= wide[1], "nothing to scroll sideways"
        browser.save_screenshot(str(tmp_path / f"{width}-recovered.png"))
        assert {each for each in requested(browser) if not each.startswith((url.rsplit("/", 2)[0], "data:"))} == set()
    finally:
        faults.creating_delay_s = 0.0
        for process in (recovering, serving):
            process.terminate()
            process.communicate(timeout=30)


def test_the_page_connects_again(cli: Cli, database: Database, target: str, browser: Any, monkeypatch: Any) -> None:
    assert restore(cli, database, target).code == 0
    monkeypatch.setenv("ROWBACK_HOME", str(cli.home))
    case = read_case(the_case(cli)["case"])
    server, url = serve(lambda: current_status(case, []))
    ended = server.RequestHandlerClass.ended  # type: ignore[attr-defined]
    lost = "return document.getElementById('lost').classList.contains('shown')"
    try:
        browser.get(url)
        wait_until(lambda: shows(browser, "Recovered") or shows(browser, "복구가 끝났습니다"), "the page")
        ended.set()
        wait_until(lambda: browser.execute_script(lost), "it says that the connection is lost")
        ended.clear()
        wait_until(lambda: not browser.execute_script(lost), "it is connected again")
    finally:
        ended.set()
        server.shutdown()


@pytest.mark.parametrize("width", WIDTHS)
def test_the_report_in_a_browser(
    cli: Cli, database: Database, target: str, browser: Any, width: str, tmp_path: Path
) -> None:
    assert restore(cli, database, target, "--find").code == 0
    page = tmp_path / "report.html"
    page.write_text(cli("report", the_case(cli)["case"], "--format", "html").out)
    browser.set_window_size(*WIDTHS[width])
    browser.get(page.as_uri())
    for words in ("Incident report", "Timeline", "public.people", "2 lost, 1 new", "Root cause"):
        assert shows(browser, words), words
    assert browser.execute_script("return document.querySelector('svg').getBoundingClientRect().height") > 100
    wide = browser.execute_script(SIDEWAYS)
    assert wide[0] <= wide[1]
    browser.save_screenshot(str(tmp_path / f"{width}-report.png"))
    assert requested(browser) == {page.as_uri()}


SECRET = "hunter2-Sesame-0815"


def test_a_planted_secret_appears_nowhere(cli: Cli, database: Database, target: str, webhook: Heard) -> None:
    """In a DSN, in the environment, in a SQL error, in an AWS error: not in journal, report, page, notification, log
    or exception."""
    Path("rowback.toml").write_text(f'[profiles.p]\n[[profiles.p.notify]]\nurl = "http://127.0.0.1:{webhook.port}/"\n')
    planted = {"APP_DSN": f"postgresql://app:{SECRET}@127.0.0.1/x", "SOME_TOKEN": SECRET}
    said: list[str] = []

    def run(*arguments: str, **environment: str) -> int:
        ran = cli(*arguments, **{**planted, **environment})
        said.extend((ran.out, ran.err))
        return ran.code

    database.run(
        "create function fits(text) returns boolean language plpgsql as "
        f"'begin raise exception ''password {SECRET} is wrong''; end'",
        "alter table people add constraint c check (fits(name)) not valid",
    )
    at = ["--at", target, "--database", database.name, "--confirm", database.name, "--profile", "p"]
    assert run("restore", cli.live.identifier, *at, "--find") == 41  # every row is refused, and set aside
    assert "password *** is wrong" in said[-1]
    (case,) = [each["case"] for each in json.loads(cli("cases", "--json").out)]
    for form in ("text", "md", "html", "json"):
        run("report", case, "--format", form)
    run("status", case)
    run("close", case)
    cli.live.lab.engine.faults.calls.append(_aws_error())
    assert run("doctor", cli.live.identifier) == 36
    Path("book.md").write_text(
        "---\ntitle: T\npurpose: P\nwhen: W\nparameters: {instance: {type: instance}, database: {type: database}}\n"
        'connections: {app: APP_DSN}\n---\n# T\n\nWords.\n\n```sh id=tell timeout=1m reads\necho "$SOME_TOKEN"; echo'
        ' "$APP_DSN" >&2\n```\n\n```sql id=ask timeout=9s on=app\nselect 1\n```\n\n'
        f"```sql id=wrong timeout=9s\nselect '{SECRET}'::int\n```\n"
    )
    given = ["-p", f"instance={cli.live.identifier}", "-p", f"database={database.name}", "--mode", "auto"]
    assert run("runbook", "run", "book.md", *given) == 56
    (id,) = [each["run"] for each in json.loads(cli("runbook", "runs", "--json").out)]
    assert run("runbook", "resume", id, "--skip", "ask", "--reason", "x", "--mode", "auto") == 56
    assert SECRET not in "".join(said)
    assert SECRET not in json.dumps(webhook.documents)
    for path in cli.home.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes() or path.name == "book.md", path


def _aws_error() -> Any:
    from runbooks.lab.lab_state import CallFault

    return CallFault("DescribeDBInstances", "InvalidParameterValue", f"token={SECRET} is not valid")
