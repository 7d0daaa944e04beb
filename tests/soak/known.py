"""Defects of the product that are known and not mended yet: met ones are counted apart, all others fail a run.

An entry goes with the commit that mends it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

KNOWN: tuple[tuple[str, str], ...] = (
    (
        "reap takes case and expiry from another instance's tags and deletes the copy of a paused case",
        r"reap deleted the copy of an open case that has not expired",
    ),
    (
        "name and tags alone prove a copy whose start was never confirmed",
        r"(close|reap) deleted an instance that only has the name and tags of a copy",
    ),
    (
        "a row that was put back and then deleted by others is taken for one that was never written (exit 40)",
        r"exit 40: .*rows differ from T, and the plan did not say so",
    ),
    (
        "a paced load whose first portion loads only whole tables counts every other row twice (exit 40)",
        r"exit 40: .*: (\d+) of \1 written rows are as planned",
    ),
    (
        "and such a load cannot be undone: its rows count as changed by others",
        r"^undo.*: rows stay though nobody wrote since: .* stay: changed by others since it was read",
    ),
    (
        "an undo whose COMMIT was not answered says that nothing was written",
        r"(undo|redo) is committed, and rowback says that nothing was written",
    ),
    (
        "close leaves the session of an undo whose client is gone, with its locks",
        r"after close: a session or lock of rowback is left",
    ),
    (
        "a change set's rollback journal is left by a killed process",
        r"file cases/[^/]+/changes-\d+\.sqlite-journal is left",
    ),
)  # fmt: skip


def sorted_out(broken: Iterable[str]) -> tuple[list[str], list[str]]:
    """Unknown ones, and the names of known ones."""
    unknown, known = [], []
    for what in dict.fromkeys(broken):
        name = next((name for name, words in KNOWN if re.search(words, what, re.DOTALL)), None)
        if name is None:
            unknown.append(what)
        else:
            known.append(name)
    return unknown, known
