"""Every error's help is followed to the letter, and then the outcome is another, or the question is answered."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from recovery.errors import EXIT_CODES, ErrorId
from tests.fix_cli import Cli
from tests.fix_lab import Database
from tests.helps import stories_of_cases, stories_of_refusals  # noqa: F401 (they enter themselves)
from tests.helps.place import FOLLOWED, Place

pytestmark = pytest.mark.drill
PAGE = Path(__file__).parents[2] / "docs" / "errors.md"
# Provoked and gone on from in tests of their own, because no command line alone brings them about.
ELSEWHERE = {
    ErrorId.APPROVAL_MISSING: "tests/scenarios/test_second_person.py",
    ErrorId.BOOK_CHANGED: "tests/scenarios/runbook/test_runs.py",
    ErrorId.DISK_FULL: "tests/faults/test_trouble.py",
    ErrorId.REPLICA_BEHIND: "tests/faults/test_paced_kill.py",
    ErrorId.SAME_SERVER: "tests/server/test_quarantine.py",
    ErrorId.VERIFY_DIFFERS: "tests/server/load/test_triggers.py",
}


@pytest.mark.parametrize("id", sorted(FOLLOWED), ids=str)
def test_the_help_changes_the_outcome(id: ErrorId, cli: Cli, database: Database, tmp_path: Path) -> None:
    FOLLOWED[id](Place(cli, database, tmp_path, id))


def test_every_error_is_followed_and_the_page_says_so() -> None:
    """In a test here, or in a named one that mentions it."""
    assert set(ErrorId) - FOLLOWED.keys() == ELSEWHERE.keys()
    for id, file in ELSEWHERE.items():
        mention = rf"{id.value}|{id.name}|(code|returncode) == {EXIT_CODES[id]}"
        assert re.search(mention, (PAGE.parents[1] / file).read_text()), f"{file} does not mention {id}"
    marked = re.findall(r"^## (\S+)\n\n[^#]*?\*Its help is followed by a test\.\*", PAGE.read_text(), re.MULTILINE)
    assert marked == [id.value for id in ErrorId if id in FOLLOWED]
