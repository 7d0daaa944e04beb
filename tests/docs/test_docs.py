"""The documentation is executed: commands of README and tour, every --help, every schema, every error."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from recovery.aws import instances as aws_instances
from recovery.cli import GROUPS, SHORT, VERBS, rowback
from recovery.errors import EXIT_CODES, ErrorId
from tests.docs.assumptions_page import ASSUMPTIONS_FILE, assumptions_page
from tests.docs.pages import (
    PAGES,
    ROOT,
    commands_page,
    console_blocks,
    iam_page,
    incidents_page,
    json_page,
    modes_page,
    normalise,
    python_page,
    run_page,
)


@pytest.mark.drill
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_prints_what_the_page_shows(page: Path, tmp_path: Path) -> None:
    shown = [normalise(block) for block, _ in console_blocks(page)]
    assert [normalise(block) for block in run_page(page, tmp_path)] == shown


def test_the_front_page_fits() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 250


def test_generated_pages_are_current() -> None:
    """`make docs` writes them."""
    assert (ROOT / "docs" / "reference" / "commands.md").read_text() == commands_page()
    assert (ROOT / "docs" / "reference" / "json.md").read_text() == json_page()
    assert (ROOT / "docs" / "reference" / "iam.md").read_text() == iam_page()
    assert (ROOT / "docs" / "reference" / "modes.md").read_text() == modes_page()
    assert (ROOT / "docs" / "reference" / "python.md").read_text() == python_page()
    assert (ROOT / "docs" / "incidents.md").read_text() == incidents_page()
    assert ASSUMPTIONS_FILE.read_text() == assumptions_page()


def test_every_error_is_documented_with_its_exit_code() -> None:
    found = re.findall(r"^## (\S+)\n\nExit code (\d+)\. \S", (ROOT / "docs" / "errors.md").read_text(), re.MULTILINE)
    assert found == [(id.value, str(EXIT_CODES[id])) for id in ErrorId]


def test_every_verb_has_a_short_line_and_an_example() -> None:
    assert VERBS.keys() == SHORT.keys()
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(VERBS)
    for name in VERBS:
        command = rowback.get_command(click.Context(rowback), name)
        assert command
        assert (command.epilog or "").startswith("Example: ")
        assert command.help


def test_sources_are_in_the_repository() -> None:
    """Each mark in a comment is a line of docs/sources.md, and each line is used."""
    page = (ROOT / "docs" / "sources.md").read_text()
    marks = set(re.findall(r"^\| ([A-Z]+-[a-z]+) \|", page, re.MULTILINE))
    code = [path.read_text() for room in ("recovery", "guards", "runbooks") for path in (ROOT / room).rglob("*.py")]
    texts = code + [path.read_text() for path in (ROOT / "docs" / "decisions").glob("*.md")]
    named = (found for text in texts for found in re.findall(r"sources:\s+([A-Z]+-[a-z]+(?:,\s+[A-Z]+-[a-z]+)*)", text))
    used = {mark for marks_together in named for mark in re.split(r",\s+", marks_together)}
    assert used == marks
    assert not [text[:80] for text in texts if re.search(r"facts/|PRODUCT\.md|ARCHITECTURE\.md", text)]


def test_links_lead_somewhere() -> None:
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")):
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if not link.startswith("http"):
                assert (page.parent / link).exists(), f"{page.name}: {link}"


CLIENTS = {"self": "rds"}  # what a client is called where it is not called by its service
SERVICE = re.compile(r'"([a-z0-9]+):([A-Z]\w+)')


def test_the_policy_allows_every_call_that_is_made() -> None:
    """Calls are named in their errors, and in what is paged through."""
    page = (ROOT / "docs" / "reference" / "iam.md").read_text()
    source = "".join(path.read_text() for path in Path(aws_instances.__file__).parent.glob("*.py"))
    called = {f"{service}:{action}" for service, action in SERVICE.findall(source)}
    verbs = re.findall(r"(?:self\.)?(rds)\.([a-z_]+)\(", source)
    verbs += re.findall(r'(\w+)\.(?:get_paginator|_pages)\("([a-z_]+)"', source)
    called |= {
        f"{CLIENTS.get(client, client)}:" + "".join(part.capitalize() for part in name.split("_")).replace("Db", "DB")
        for client, name in verbs
        if name not in ("get_paginator", "generate_db_auth_token")
    }
    assert len(called) > 15
    free = {"sts:GetCallerIdentity"}  # needs no permission
    assert {name for name in called - free if name not in page} == set()
