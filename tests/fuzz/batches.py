"""Inputs are tried in batches, each in a process of its own: one that kills or stops it costs that input only."""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tests.fuzz.outcomes import DEFECTS, STUCK, End, Kind, outcome_of
from tests.fuzz.target import Target, environment_in, input_of

MEMORY = Path("/dev/shm")  # noqa: S108 (tmpfs, looked at before it is used)
MOST_BYTES = 6 << 30  # of address space: what wants more gets a MemoryError
BUSY_S = 3.0  # beyond these Python itself does not come to a signal


@dataclass
class Batch:
    """What became of a batch: how many inputs of each kind, the first of each, and the tracebacks of defects."""

    kinds: Counter[Kind] = field(default_factory=Counter)
    first: dict[Kind, int] = field(default_factory=dict)
    texts: dict[Kind, str] = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, kind: Kind, index: int, text: str = "") -> None:
        """One more input."""
        self.kinds[kind] += 1
        self.first.setdefault(kind, index)
        if kind.end in DEFECTS:
            self.texts.setdefault(kind, text)

    def merge(self, other: Batch) -> None:
        """Another batch behind this one."""
        self.kinds += other.kinds
        self.first.update({kind: index for kind, index in other.first.items() if kind not in self.first})
        self.texts.update({kind: text for kind, text in other.texts.items() if kind not in self.texts})
        self.seconds += other.seconds


def perform(target: Target, seed: int, indices: range, limit_s: float) -> Batch:
    """Try the inputs with these numbers. Those that one takes along as it ends its process are tried again."""
    done, at = Batch(), indices.start
    while at < indices.stop:
        some = _in_a_process(target, seed, range(at, indices.stop), limit_s)
        done.merge(some.batch)
        at = some.following
        if some.fatal is not None:
            kind, index = some.fatal
            done.merge(perform(target, seed, range(at, index), limit_s))
            done.add(kind, index, "the process that tried it is gone")
            at = index + 1
    return done


@dataclass(frozen=True)
class _Ended:
    """What one process has sent: up to the input before `following`. `fatal`: the kind and number of its last input,
    where it did not live to the end."""

    batch: Batch
    following: int
    fatal: tuple[Kind, int] | None = None


def _in_a_process(target: Target, seed: int, indices: range, limit_s: float) -> _Ended:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    progress, directory = context.Value("q", indices.start, lock=False), new_directory()
    task = (target, seed, indices, limit_s)
    worker = context.Process(target=_work, args=(task, directory, theirs, progress))
    sys.stdout.flush()
    worker.start()
    theirs.close()
    try:
        ended = _await(ours, progress, indices, limit_s)
        worker.join(STUCK)
        code = worker.exitcode
    finally:
        ours.close()
        worker.kill()
        worker.join()
        shutil.rmtree(directory, ignore_errors=True)  # a process that was killed leaves it
    if code is not None and code > 0:
        raise RuntimeError(f"the fuzzer itself failed at {target.name} {seed} {progress.value}: see above")
    return ended


def _await(ours: Connection, progress: Any, indices: range, limit_s: float) -> _Ended:
    done, following = Batch(), indices.start
    seen, since = progress.value, time.monotonic()
    while following < indices.stop:
        if ours.poll(limit_s / 2):
            try:
                some, following = ours.recv()
            except EOFError:  # it was killed, or killed itself
                return _Ended(done, following, (Kind(End.DIED), progress.value))
            done.merge(some)
        if progress.value != seen:
            seen, since = progress.value, time.monotonic()
        elif time.monotonic() - since > STUCK * limit_s + BUSY_S:
            return _Ended(done, following, (Kind(End.HANG, "beyond signals"), seen))
    return _Ended(done, following)


def _work(task: tuple[Target, int, range, float], directory: Path, out: Connection, progress: Any) -> None:
    """In the process: what was tried is sent every second, so that an input that ends it costs little."""
    target, seed, indices, limit_s = task
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    with scratch_directory(directory):
        done, began, sent = Batch(), time.monotonic(), time.monotonic()
        for index in indices:
            progress.value = index
            outcome = outcome_of(target, input_of(target, seed, index), directory, limit_s)
            done.add(outcome.kind, index, outcome.text)
            if time.monotonic() - sent > 1.0:
                done.seconds = time.monotonic() - began
                out.send((done, index + 1))
                done, began, sent = Batch(), time.monotonic(), time.monotonic()
        done.seconds = time.monotonic() - began
        out.send((done, indices.stop))


class scratch_directory:  # noqa: N801 (used like a function)
    """An empty working directory in memory, with an environment and standard streams that lead nowhere else."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or new_directory()
        self._before: tuple[dict[str, str], str] = ({}, "")

    def __enter__(self) -> Path:
        self._before = dict(os.environ), os.getcwd()
        os.environ.clear()
        os.environ.update(environment_in(self._path))
        os.chdir(self._path)
        (self._path / "home").mkdir(mode=0o700)
        return self._path

    def __exit__(self, *_: object) -> None:
        environment, place = self._before
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(place)
        shutil.rmtree(self._path, ignore_errors=True)


def new_directory() -> Path:
    """An empty directory, in memory where there is such a place."""
    return Path(tempfile.mkdtemp(prefix="rowback-fuzz-", dir=MEMORY if MEMORY.is_dir() else None))


def rounds(targets: list[Target], size: int) -> Iterator[tuple[Target, range]]:
    """Batches without end: in each round every target gets inputs by its weight."""
    number = 0
    while True:
        for target in targets:
            share = size * target.weight
            yield target, range(number * share, (number + 1) * share)
        number += 1
