"""Plan files: where they are kept, and what they may replace."""

from __future__ import annotations

import os
from pathlib import Path

from recovery.config import state_home
from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError
from recovery.files import private_directory, read_regular, replace_private
from recovery.model.recovery_plan import RecoveryPlan


def plan_file(digest: str) -> Path:
    """The default path of a plan's file."""
    return private_directory(state_home() / "plans") / f"plan-{digest}.json"


def refuse_other_file(path: Path) -> None:
    """A plan takes the place of a plan, and of no other file. Raises usage."""
    if not os.path.lexists(path):
        return
    try:
        RecoveryPlan.from_file(read_regular(path).decode())
    except (OSError, ValueError):
        raise RowbackError(
            ErrorId.USAGE,
            f"{path} is there already, and is no plan of rowback",
            state=NOTHING_CREATED,
            help="choose another --out",
        ) from None


def write_plan(path: Path, text: str) -> None:
    """Write a plan file whole, readable by its owner only; a plan that is there is replaced. Raises usage."""
    refuse_other_file(path)
    try:
        replace_private(path, text.encode())
    except OSError as error:
        raise RowbackError(
            ErrorId.USAGE,
            f"{path} cannot be written: {error.strerror}",
            state=NOTHING_CREATED,
            help="choose another --out",
        ) from error
