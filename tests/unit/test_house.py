"""The house rules that a linter does not know."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.duplicates import duplicates

ROOT = Path(__file__).parents[2]
SOURCES = sorted(p for room in ("recovery", "guards", "runbooks") for p in (ROOT / room).rglob("*.py"))
HOMES = ("", "recovery", "guards", "runbooks")


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_fit(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 350
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno <= 60, f"{node.name} is longer than 60 lines"
            arguments = [a for a in (*node.args.args, *node.args.kwonlyargs) if a.arg not in ("self", "cls")]
            command = any("click" in ast.unparse(d) or "option" in ast.unparse(d) for d in node.decorator_list)
            assert command or len(arguments) <= 6, f"{node.name} takes {len(arguments)} arguments"


TESTS = [
    path
    for room in ("tests", "benchmarks")
    for path in sorted((ROOT / room).rglob("*.py"))
    if "inner_suites" not in path.parts
]


@pytest.mark.parametrize("path", TESTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_tests_are_files_that_fit_and_import_no_test(path: Path) -> None:
    """What tests share stands in modules of its own; suites for an inner run are files, not long strings."""
    text = path.read_text()
    tree = ast.parse(text)
    assert len(text.splitlines()) <= 350
    modules = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert [name for name in modules if re.search(r"^tests\.(\w+\.)*test_\w+$", name)] == []
    strings = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    assert [s[:60] for s in strings if isinstance(s, str) and "import " in s and len(s.splitlines()) > 60] == []


def test_our_own_code_is_never_mocked() -> None:
    needle = "patch(" + '"recovery'
    guilty = [
        p for p in (ROOT / "tests").rglob("*.py") if needle in p.read_text() or "unittest." + "mock" in p.read_text()
    ]
    assert guilty == []


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys\nfrom recovery.cli import rowback\n"
        "try:\n    rowback.main(['--help'], standalone_mode=False)\nfinally:\n"
        "    print(sorted({'boto3', 'psycopg', 'pydantic', 'moto', 'sh', 'rich'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert told.splitlines()[-1] == "[]"


def test_no_two_files_share_a_name() -> None:
    """An "open file" box tells them apart; a verb has its file in commands, what it does is called otherwise."""
    stems = Counter(path.stem for path in SOURCES if path.stem != "__init__")
    assert [stem for stem, count in stems.items() if count > 1] == []


ROOMS = [path for path in SOURCES if path.name == "__init__.py" and "Read in this order:" in path.read_text()]


@pytest.mark.parametrize("room", ROOMS, ids=lambda p: str(p.parent.relative_to(ROOT)))
def test_reading_order_of_a_room_names_files_that_exist(room: Path) -> None:
    order = re.search(r"Read in this order: (.+?)\.(?:\n| Each)", room.read_text(), re.DOTALL)
    assert order
    named = re.sub(r"\(.*?\)|\bthen\b|\bthe\s+other ops_\*", "", order[1])
    names = [name for part in re.split(r"[,;]", named) if (name := part.strip())]
    assert [n for n in names if not (room.parent / f"{n}.py").exists()] == []


def test_modes_are_asked_for_what_they_declare() -> None:
    """A sixth mode is a file in model/modes: nothing else compares its name."""
    asks = [p for p in SOURCES if "modes" not in p.parts and "drills" not in p.parts]
    assert [str(p) for p in asks if re.search(r"\bMode\.[A-Z]", p.read_text())] == []


@pytest.mark.parametrize("page", ["architecture.md", "extending.md"])
def test_pages_on_the_code_name_files_that_exist(page: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    modules = {name.removesuffix(".py") for name in re.findall(r"`([a-z_0-9]+(?:/[a-z_0-9]+)+(?:\.py)?)`", text)}
    assert modules
    missing = [n for n in modules if not any((ROOT / r / n).is_dir() or (ROOT / r / f"{n}.py").exists() for r in HOMES)]
    assert sorted(missing) == []


def _raises(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    inner = {each for nested in ast.walk(function) if nested is not function for each in _of_nested(nested)}
    return any(isinstance(x, ast.Raise) and x.exc and x not in inner for x in ast.walk(function))


def _of_nested(node: ast.AST) -> Iterator[ast.AST]:
    return ast.walk(node) if isinstance(node, ast.FunctionDef | ast.Lambda) else iter(())


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_docstrings_of_public_functions_say_what_is_raised(path: Path) -> None:
    """Presence and form are ruff's (pydocstyle). The help of a command is for people, who see the error itself."""
    tree = ast.parse(path.read_text())
    owners: list[ast.Module | ast.ClassDef] = [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))]
    for owner in owners:
        for function in owner.body:
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) or function.name.startswith("_"):
                continue
            if any("command(" in ast.unparse(d) for d in function.decorator_list) or not _raises(function):
                continue
            text = ast.get_docstring(function) or ""
            assert re.search(r"\b[Rr]aise[sd]?\b", text), f"{function.name} raises, and its docstring does not say what"


def test_the_duplicates_check_sees_folded_names_and_passes_boilerplate_over() -> None:
    body = "    a = one(1)\n    if a > 1:\n        b = a.read()\n    else:\n        b = a.write(2)\n    return b\n"
    other = body.replace("a", "x").replace("x.rexd", "x.read").replace("b", "y").replace("1", "7").replace("one", "two")
    twice = duplicates({"p.py": f"def f():\n{body}", "q.py": f"def g():\n{other}"})
    assert twice == [[("p.py", 2, 7), ("q.py", 2, 7)]]
    assert duplicates({"p.py": f"def f():\n{body}", "q.py": f"def g():\n{other.replace('write', 'send')}"}) == []
    raises = "def f():\n    if a:\n        raise E(\n            1,\n            2,\n            3,\n        )\n"
    assert duplicates({"p.py": raises, "q.py": raises}) == []


# Names that once had to be translated; what they were called instead stands in docs/architecture.md's rooms.
PRIVATE_NAMES = {
    *("found", "told", "said", "known", "given", "there", "somebody", "everybody"),
    *("Errand", "Everybody", "Patient", "Ward", "Told", "Likeness", "Portions", "_Governor", "Known"),
    *("of_aws", "of_machine", "of_database", "examine", "mark_early", "waits_for"),
    *("put_earlier", "me", "portions"),
}
PRIVATE_IDIOMS = re.compile(r"\b(somebody|everybody|temporary instance|recovery instance)\b|Mine, now", re.IGNORECASE)
# A docstring says what a function guarantees, not who hears of it.
DOCSTRING_IDIOMS = re.compile(r"\b(nobody|no one|whoever|whom|told|hears?|of ours|one's own)\b", re.IGNORECASE)


def _bound_names(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield name, node.lineno
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.ExceptHandler(name=str(name)):
                yield name, node.lineno


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_names_and_words_are_those_of_the_field(path: Path) -> None:
    text = path.read_text()
    assert [(name, line) for name, line in _bound_names(ast.parse(text)) if name.strip("_") in PRIVATE_NAMES] == []
    assert PRIVATE_IDIOMS.findall(text) == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_docstrings_speak_as_postgresql_s_documentation_does(path: Path) -> None:
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, documented)]
    texts = [text for node in nodes if (text := ast.get_docstring(node))]
    assert texts
    assert [text for text in texts if DOCSTRING_IDIOMS.search(text)] == []


def test_a_class_name_has_one_meaning() -> None:
    trees = [ast.parse(path.read_text()) for path in SOURCES]
    classes = Counter(node.name for tree in trees for node in tree.body if isinstance(node, ast.ClassDef))
    assert [name for name, count in classes.items() if count > 1] == []


def test_no_command_writes_a_journal() -> None:
    """It asks a room below to; what is recorded, and in which order with what is done, is decided there."""
    commands = [path for path in SOURCES if path.parent.name == "commands"]
    assert [p.name for p in commands if re.search(r"journal\.append\(|\.record\(", p.read_text())] == []
