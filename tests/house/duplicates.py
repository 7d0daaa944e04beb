"""The same code written twice: runs of statements of six lines or more, with names, numbers and texts folded.

Boilerplate is left out: imports, docstrings, one statement alone (a raise with its words, a query with its text), and a
condition that does nothing but raise. Run by `make lint`: python -m tests.house.duplicates
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("recovery", "guards", "runbooks")
LINES_AT_LEAST = 6
Place = tuple[str, int, int]


class _Folded(ast.NodeTransformer):
    """Names and constants do not count; attributes, calls and operators do."""

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Name("_", node.ctx)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return ast.arg("_")

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.Constant(type(node.value).__name__)


def duplicates(sources: dict[str, str]) -> list[list[Place]]:
    """Places (path, first line, last line) that share a run, by path → text."""
    places: dict[str, list[Place]] = defaultdict(list)
    for path, text in sources.items():
        for block in _blocks(ast.parse(text)):
            for shape, first, last in _runs(block):
                places[shape].append((path, first, last))
    return [found for found in places.values() if len(found) > 1]


def _blocks(tree: ast.Module) -> Iterator[list[ast.stmt]]:
    """Bodies of functions and of what is in them, without docstrings and imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef):
            continue
        for name in ("body", "orelse", "finalbody"):
            body = getattr(node, name, None)
            if isinstance(body, list):
                yield [statement for statement in body if not _passed_over(statement)]


def _passed_over(statement: ast.stmt) -> bool:
    text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return text or isinstance(statement, ast.Import | ast.ImportFrom)


def _runs(block: list[ast.stmt]) -> Iterator[tuple[str, int, int]]:
    """The shortest run from each statement on that is long enough."""
    shapes = [ast.dump(_Folded().visit(ast.parse(ast.unparse(statement)))) for statement in block]
    for start in range(len(block)):
        for end in range(start + 1, len(block) + 1):
            run = block[start:end]
            if sum((each.end_lineno or 0) - each.lineno + 1 for each in run) >= LINES_AT_LEAST:
                if sum(not _only_raises(each) for each in run) > 1:
                    yield "\n".join(shapes[start:end]), run[0].lineno, run[-1].end_lineno or 0
                break


def _only_raises(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Raise) or (
        isinstance(statement, ast.If) and all(isinstance(each, ast.Raise) for each in statement.body)
    )


def main() -> int:
    """Print each set of places, and fail when there is one, or when a room has no files."""
    files = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    if missing := set(ROOMS) - {path.relative_to(ROOT).parts[0] for path in files}:
        print(f"no Python files in {', '.join(sorted(missing))}")  # noqa: T201
        return 1
    found = duplicates({str(path.relative_to(ROOT)): path.read_text() for path in files})
    for places in found:
        print("written twice: " + ", ".join(f"{path}:{first}-{last}" for path, first, last in places))  # noqa: T201
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
