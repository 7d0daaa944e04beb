"""A guarded child that ends at the moment it is looked at was guarded all the same."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from guards import unguarded_children
from guards.children import environment
from guards.process_table import read
from guards.unguarded_children import ChildrenWatch

LOADED = "import psycopg, sys; print('loaded', flush=True); sys.stdin.read()"


@pytest.fixture(params=[True, False], ids=["guarded", "not guarded"])
def child(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], bool]]:
    """A Python that has loaded a driver and waits, guarded or not."""
    variables = dict(environment("dev", tmp_path / "refused")) if request.param else {}
    process = subprocess.Popen(
        [sys.executable, "-c", LOADED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=variables
    )
    assert process.stdout
    assert process.stdout.readline() == "loaded\n"
    yield process, request.param
    process.kill()
    process.communicate()


def test_one_that_lives_is_told_if_it_is_not_guarded(child: tuple[subprocess.Popen[str], bool]) -> None:
    process, guarded = child
    watch = ChildrenWatch(process.pid)
    watch._look(process.pid)
    assert [(each.pid, each.is_python) for each in watch.end()] == ([] if guarded else [(process.pid, True)])


@pytest.mark.parametrize("file", ["maps", "cmdline"])
def test_one_that_ends_while_it_is_looked_at(
    child: tuple[subprocess.Popen[str], bool], monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    """It ends between two looks into /proc: what is left says nothing of what it had read."""
    process, _ = child

    def read_and_end(path: Path) -> str:
        text = read(path)
        if path.name == file:
            process.kill()
            process.wait()
        return text

    monkeypatch.setattr(unguarded_children, "read", read_and_end)
    watch = ChildrenWatch(process.pid)
    watch._look(process.pid)
    assert watch.end() == []
