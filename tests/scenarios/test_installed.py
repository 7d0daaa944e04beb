"""As it is installed: without extras, beside packages of the user's that have the same names, in any directory."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from recovery.cli import EXTRAS, VERBS
from tests.guards.inner import Inner, ran

PROGRAM = str(Path(sys.executable).with_name("rowback"))
HIDING = """
import sys
class Nothing:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Nothing)
sys.argv[0] = "rowback"
from rowback_entry import main
main()
"""


def without_extras(home: Path, *arguments: str) -> Inner:
    """rowback where no module of an extra can be imported."""
    (home / "bare.py").write_text(HIDING.format(names=tuple(EXTRAS)))
    return ran(home, "bare.py", *arguments, ROWBACK_HOME=str(home / "state"))


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_without_an_extra(tmp_path: Path, verb: str) -> None:
    found = without_extras(tmp_path, verb, "--help")
    assert (found.code, found.out.startswith(f"Usage: rowback {verb} ")) == (0, True), found.out


@pytest.mark.parametrize("arguments", [("lab", "up"), ("drill",), ("drill", "bad-update")])
def test_what_needs_one_names_it(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    found = without_extras(tmp_path, *arguments)
    assert "  help: pip install 'rowback[lab]'" in found.out.splitlines(), found.out
    assert "Traceback" not in found.out
    assert found.code in {2, 3}


def test_whats_all_there_needs_none(tmp_path: Path) -> None:
    assert without_extras(tmp_path, "cases").out == "no cases yet\n"
    assert "truncated-tables" in without_extras(tmp_path, "runbook", "list").out


@pytest.mark.parametrize("name", ["recovery", "guards", "runbooks"])
def test_a_package_of_the_same_name_is_named_in_one_line(tmp_path: Path, name: str) -> None:
    package = tmp_path / name
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    found = ran(tmp_path, PROGRAM, "cases", PYTHONPATH=str(tmp_path))
    assert found.out.splitlines() == [
        f"error[usage]: rowback's own package '{name}' is hidden by another one: {package}",
        "  nothing was done",
        "  help: begin it where PYTHONPATH does not lead there: env -u PYTHONPATH rowback …; or rename that package",
    ]
    assert found.code == 2
    assert ran(tmp_path, PROGRAM, "cases", ROWBACK_HOME=str(tmp_path / "state")).out == "no cases yet\n"


def test_steps_of_a_runbook_are_ours_wherever_it_is_run(tmp_path: Path) -> None:
    """`python -m` looks into the current directory first."""
    (tmp_path / "recovery").mkdir()
    (tmp_path / "recovery" / "__init__.py").write_text("raise SystemExit('imported')")
    front = "---\ntitle: Look\npurpose: See.\nwhen: Now.\n---\n# Look\n\nWords.\n\n"
    (tmp_path / "book.md").write_text(f"{front}```rowback id=look timeout=1m\nrowback cases\n```\n")
    home = str(tmp_path / "state")
    found = ran(tmp_path, PROGRAM, "runbook", "run", "book.md", "--mode", "auto", ROWBACK_HOME=home)
    assert (found.code, "  │ no cases yet" in found.out) == (0, True), found.out


@pytest.mark.parametrize("place", [".", "src"])
def test_a_project_with_guards_of_its_own_is_told_by_pytest(tmp_path: Path, place: str) -> None:
    package = tmp_path / place / "guards"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "door.py").write_text("open = True")
    (tmp_path / "conftest.py").write_text(f"import sys; sys.path.insert(0, {str(tmp_path / place)!r})")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_door.py").write_text("from guards.door import open\ndef test(): assert open\n")
    quiet = (
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:asyncio",
        "-p",
        "no:django",
        "-p",
        "no:pytest_postgresql",
    )
    found = ran(tmp_path, *quiet)
    told = f"rowback: its own package 'guards' and the project's hide each other: {package}; its tests run without"
    assert found.code == 4, found.out
    assert [line for line in found.out.splitlines() if told in line], found.out
    assert "Traceback" not in found.out
    without = ran(tmp_path, *quiet, "-p", "no:rowback")
    assert (without.code, "1 passed" in without.out) == (0, True), without.out
