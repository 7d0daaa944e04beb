"""The house rules that a linter does not know."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(p for room in ("recovery", "guards", "runbooks") for p in (ROOT / room).rglob("*.py"))


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
