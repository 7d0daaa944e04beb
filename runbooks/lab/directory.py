"""The directory of a lab in the background: only one that bears a lab's mark and is this user's is read or removed.

`ROWBACK_LAB_ROOT` may name any directory by mistake, and the default one has a name that anybody can guess and make
first: what lies there without our mark is never trusted and never deleted.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from runbooks.lab.lab_cluster import LabError

MARK = ".rowback-lab"
WORDS = "This directory is a lab of rowback; `rowback lab down` ends it and removes the directory.\n"


def is_lab(root: Path) -> bool:
    """Whether `root` is a lab's directory, made and owned by this user.

    No link, written to by this user alone, with the mark of a lab that this user made as well.
    """
    try:
        directory, mark = root.lstat(), (root / MARK).lstat()
    except OSError:
        return False
    return _ours(directory) and stat.S_ISDIR(directory.st_mode) and _ours(mark) and stat.S_ISREG(mark.st_mode)


def claim(root: Path) -> None:
    """Make `root` the directory of a new lab, empty but for its mark. Raises LabError for anything else that is there.

    What a lab that ended badly left in it is removed first.
    """
    if is_lab(root):
        remove(root)
    try:
        root.mkdir(mode=0o755, parents=True)
    except FileExistsError:
        _refuse_other(root)
    except OSError as error:
        raise LabError(f"{root} cannot be made: {error.strerror}") from error
    root.chmod(0o755)  # whatever the umask: PostgreSQL passes through as another user, and nobody else writes
    mark = root / MARK
    mark.write_text(WORDS)
    mark.chmod(0o644)


def remove(root: Path) -> bool:
    """Remove the directory of a lab; False when there is nothing. Raises LabError for one that is no lab's."""
    if not os.path.lexists(root):
        return False
    if not is_lab(root):
        raise LabError(
            f"{root} does not bear the mark of a lab of this user ({MARK}), so nothing in it was touched; if"
            " ROWBACK_LAB_ROOT names it, name another directory"
        )
    shutil.rmtree(root)
    return True


def _refuse_other(root: Path) -> None:
    try:
        status = root.lstat()
        usable = stat.S_ISDIR(status.st_mode) and _ours(status) and not any(root.iterdir())
    except OSError as error:
        raise LabError(f"{root} cannot be looked into: {error.strerror}") from error
    if not usable:
        raise LabError(
            f"{root} exists, and is no empty directory of this user's nor one that bears the mark of a lab ({MARK}), so"
            " nothing in it was touched; name another one with ROWBACK_LAB_ROOT"
        )


def _ours(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
