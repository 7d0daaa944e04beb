"""The verb undo on a case of the kinds, and where a case keeps its files."""

from __future__ import annotations

from pathlib import Path

from tests.fix_cli import Ran
from tests.kinds.harness import World


def directory(world: World) -> Path:
    return Path(world.cli.environment["ROWBACK_HOME"]) / "cases" / world.case


def undo(world: World, *extra: str) -> Ran:
    return world.run("undo", world.case, "--confirm", world.database.name, *extra)
