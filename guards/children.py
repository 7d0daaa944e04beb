"""Python children of a guarded process: guarded as soon as they import a driver; what was refused is reported back.

The environment carries it: the guard's directory comes first on PYTHONPATH and holds a sitecustomize.py, which Python
imports by itself. It is put back where a child is given an environment of its own. Children in isolated mode (-I, -E,
-S) and those of other languages are not reached.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from guards.guarded_run import join

STRICTNESS = "ROWBACK_GUARD"
REPORT = "ROWBACK_GUARD_REPORT"
HOME = "ROWBACK_GUARD_HOME"  # where `guards` is found; at the end of the child's path: nothing of its own is shadowed
ACTIVATION = Path(__file__).parent / "activation"
# What our parent wants to know, if we have one that asked; ours comes to stand in the environment for our children.
_PARENT = os.environ.get(REPORT)


def environment(strictness: str, report: Path) -> Mapping[str, str]:
    """What a child's environment must hold so that it is guarded; `report`: where refusals are written."""
    before = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    paths = [str(ACTIVATION), *(path for path in before if path != str(ACTIVATION))]
    carried = {"PYTHONPATH": os.pathsep.join(paths), STRICTNESS: strictness, REPORT: str(report)}
    carried[HOME] = str(ACTIVATION.parents[1])
    join(carried)
    return {**os.environ, **carried}


def carry() -> None:
    """From now on children of this process are guarded even where they are given an environment of their own."""
    importlib.import_module("guards.activation.rowback_carry").install()


def report_refusal(text: str) -> None:
    """Tell the parent, if there is one. One line in one write: children may refuse at the same time."""
    if _PARENT:
        with suppress(OSError), open(_PARENT, "ab", buffering=0) as out:  # a refusal stays one, whoever listens
            out.write(json.dumps(text).encode() + b"\n")


def silence() -> None:
    """Our parent learns of refusals otherwise: xdist's workers hand theirs up."""
    global _PARENT  # noqa: PLW0603 (one parent a process)
    _PARENT = None


def reported(report: Path) -> list[str]:
    """The refusals that child processes appended to `report`, oldest first; one JSON object each."""
    return [json.loads(line) for line in report.read_text().splitlines()] if report.exists() else []
