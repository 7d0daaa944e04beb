"""Python children of `rowback guard run`: they are guarded from their start, and tell their parent what was refused.

The environment carries it: a directory of ours comes first on PYTHONPATH and holds a sitecustomize.py, which Python
imports by itself. Children in isolated mode (-I, -E, -S) and those of other languages are not reached.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

STRICTNESS = "ROWBACK_GUARD"
REPORT = "ROWBACK_GUARD_REPORT"
ACTIVATION = Path(__file__).parent / "activation"


def environment(strictness: str, report: Path) -> Mapping[str, str]:
    """What a child's environment must hold so that it is guarded; `report`: where refusals are written."""
    before = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    ours = [str(ACTIVATION), str(ACTIVATION.parent.parent)]
    paths = [*ours, *(path for path in before if path not in ours)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), STRICTNESS: strictness, REPORT: str(report)}


def report_refusal(text: str) -> None:
    """Tell the parent, if there is one. One line in one write: children may refuse at the same time."""
    if path := os.environ.get(REPORT):
        with open(path, "ab", buffering=0) as out:
            out.write(json.dumps(text).encode() + b"\n")


def reported(report: Path) -> list[str]:
    """The refusals that children told of, in their order."""
    return [json.loads(line) for line in report.read_text().splitlines()] if report.exists() else []
