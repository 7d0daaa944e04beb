"""Children of a guarded command that cannot be guarded.

Python in isolated mode or without our variables, and other programs, as soon as they have loaded a driver of
PostgreSQL. Linux alone; elsewhere nothing is noticed.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from guards.children import ACTIVATION, STRICTNESS
from guards.process_table import PROC, process, read

POLLED_EVERY_S = 0.02
# Libraries by which a process reaches PostgreSQL.
_DRIVERS = re.compile(
    r"/(?:libpq[.-][^/]*|_?psycopg2?[^/]*\.so[^/]*|psycopg_(?:c|binary)[^/]*/[^/]*|asyncpg/[^ ]*|pg8000[^ ]*"
    r"|_?psqlpy[^/]*|connectorx[^/]*|[^/]*adbc_driver_postgresql[^/]*)",
)
_ISOLATED = re.compile(r"^-[a-zA-Z]*[IES]")


@dataclass(frozen=True)
class Unguarded:
    """A process that reached for PostgreSQL past the guard.

    A Python that could have been guarded, or a program (psql) that never is. `name`: as it may be printed, without
    arguments, for these may hold a password.
    """

    pid: int
    name: str
    is_python: bool


@dataclass
class ChildrenWatch:
    """Looks at all descendants of a process until it is ended. `unguarded`: what was noticed."""

    root_pid: int
    unguarded: dict[tuple[int, int], Unguarded] = field(default_factory=dict)
    _ended: threading.Event = field(default_factory=threading.Event)

    def begin(self) -> threading.Thread:
        """Look from now on, in a thread of its own."""
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        return thread

    def end(self) -> list[Unguarded]:
        """Look no more; what was noticed, the first first."""
        self._ended.set()
        return list(self.unguarded.values())

    def _run(self) -> None:
        while not self._ended.wait(POLLED_EVERY_S):
            for pid in descendants(self.root_pid):
                self._look(pid)

    def _look(self, pid: int) -> None:
        child = process(pid)
        if child is None or (pid, child.started_ticks) in self.unguarded or not _loaded_driver(pid):
            return
        arguments = read(PROC / str(pid) / "cmdline").split("\0")
        is_python = "python" in Path(arguments[0]).name or "python" in _executable(pid)
        environment = read(PROC / str(pid) / "environ")
        if not environment and not _loaded_driver(pid):
            return  # it ended while it was looked at: what it had read cannot be seen any more
        if not (is_python and _is_guarded(environment, arguments)):
            name = " ".join([Path(arguments[0]).name, *_script(arguments)] if is_python else [child.name])
            self.unguarded[pid, child.started_ticks] = Unguarded(pid, name, is_python)


def descendants(pid: int) -> Iterator[int]:
    """The process and all that it started, directly or not, as far as they still run."""
    yield pid
    for tasks in (PROC / str(pid) / "task").glob("*/children"):
        for child in read(tasks).split():
            yield from descendants(int(child))


def _loaded_driver(pid: int) -> bool:
    return _DRIVERS.search(read(PROC / str(pid) / "maps")) is not None


def _is_guarded(environ: str, arguments: Sequence[str]) -> bool:
    """Whether a Python read our variables when it was started. `environ`: as /proc shows it."""
    environment = {name: value for name, _, value in (entry.partition("=") for entry in environ.split("\0"))}
    isolated = any(_ISOLATED.match(option) for option in _options(arguments[1:]))
    first = environment.get("PYTHONPATH", "").split(os.pathsep)[0]
    return not isolated and bool(environment.get(STRICTNESS)) and first == str(ACTIVATION)


def _options(arguments: Sequence[str]) -> Iterator[str]:
    """Python's own, up to what it runs. Two of them are followed by a word of theirs."""
    remaining = iter(arguments)
    for argument in remaining:
        if not argument.startswith("-") or argument in ("-", "-c", "-m"):
            return
        yield argument
        if argument in ("-W", "-X", "--check-hash-based-pycs"):
            next(remaining, None)


def _script(arguments: Sequence[str]) -> list[str]:
    """The file or module that a Python runs, with the options before it."""
    shown: list[str] = []
    for argument in arguments[1:]:
        shown.append(argument)
        if not argument.startswith("-") or argument == "-c":
            break
    return shown


def _executable(pid: int) -> str:
    try:
        return (PROC / str(pid) / "exe").readlink().name
    except OSError:
        return ""
