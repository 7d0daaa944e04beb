"""Random schedules with fixed seeds, and proof that each invariant can fail."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.soak import plants
from tests.soak.__main__ import soak
from tests.soak.level2 import play_schedule
from tests.soak.schedules import Act, Schedule
from tests.soak.server import Server, running
from tests.soak.tally import Tally
from tests.soak.world import Incident, Table, World

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

WORLD = World((Table(0, "t", "public", "int", None, "cascade", 12, False, True),), Incident("delete", 0, 4, 1))
LOAD = (Act("compare", None, calm=True), Act("load", None, calm=True))
UNDO = (*LOAD, Act("undo", None, calm=True))
BUSY = (Act("compare", None, calm=True), Act("load", None, calm=False))


def test_recoveries_on_one_server() -> None:
    tally = soak(2, 1, 40, 60.0)
    print(tally.table())  # noqa: T201 (the figures are what one runs it for)
    assert tally.failures == []


def test_recoveries_by_the_command_line() -> None:
    tally = soak(1, 1, 6, 60.0)
    print(tally.table())  # noqa: T201
    assert tally.failures == []


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as found:
        yield found


def broken(server: Server, acts: tuple[Act, ...], bursts: tuple[int, int] = (0, 0), *, mode: str = "missing") -> str:
    """What the invariants say of one quiet schedule."""
    schedule = Schedule(0, WORLD, mode, False, bursts, acts, False, 0.01)
    return "\n".join(play_schedule(server, schedule, Tally(2)).broken)


@pytest.mark.parametrize("acts", [LOAD, UNDO, BUSY])
def test_nothing_is_broken_where_nothing_is_planted(server: Server, acts: tuple[Act, ...]) -> None:
    assert broken(server, acts, (2, 2)) == ""


@pytest.mark.parametrize(
    ("plant", "bursts", "words"),
    [
        (plants.drop_a_row, (0, 0), "rows are not right, and the account names 0"),
        (plants.alter_a_row, (0, 0), "rows are neither right nor untouched"),
        (plants.touch_a_stranger, (0, 0), "rows are neither right nor untouched"),
        (plants.overwrite_others, (0, 6), "rows are neither right nor untouched"),
        (plants.delete_of_others, (0, 6), "rows were written that this act may not touch"),
        (plants.leave_trigger_off, (0, 0), "definitions are not as they were"),
        (plants.leave_schema, (0, 0), "schema rowback_scratch is left"),
        (plants.leave_file, (0, 0), "file scratch/rows is left"),
        (plants.fail, (0, 0), "raise RuntimeError(PLANTED)\nRuntimeError: planted by tests.soak"),
        (plants.die, (0, 0), "load: crash: ended with -10"),
    ],
)
def test_a_load_that_does_something_else_is_reported(
    server: Server, monkeypatch: pytest.MonkeyPatch, plant: plants.Plant, bursts: tuple[int, int], words: str
) -> None:
    plants.before_commit_of_load(monkeypatch, plant)
    assert words in broken(server, LOAD, bursts)


def test_a_half_visible_load_is_reported(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    plants.before_commit_of_load(monkeypatch, plants.show_half)
    assert "rows were seen half written" in broken(server, BUSY)


def test_an_overwritten_concurrent_write_is_reported(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    plants.before_commit_of_load(monkeypatch, plants.overwrite_others)
    told = broken(server, (LOAD[0], Act("load", None, calm=False)), (0, 10))
    assert "of others were lost or overwritten" in told or "neither right nor untouched" in told


def test_an_undo_that_does_something_else_is_reported(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    plants.before_commit_of_undo(monkeypatch, plants.touch_a_stranger)
    assert "undo: 't': 1 rows are neither right nor untouched" in broken(server, UNDO)


def test_an_account_that_hides_rows_is_reported(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    plants.before_commit_of_load(monkeypatch, plants.drop_a_row)
    plants.deny_rows(monkeypatch)
    assert "and the account names 0" in broken(server, LOAD)


def test_new_rows_that_stay_are_reported(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    plants.keep_new_rows(monkeypatch)
    assert "rows stay that T does not have, and the account names 0" in broken(server, LOAD, (0, 6), mode="replace")


def test_before_images_that_are_not_there_are_reported(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    plants.before_commit_of_load(monkeypatch, plants.forget_images)
    assert "were changed and have no before-image" in broken(server, LOAD, (0, 6), mode="replace")


def test_a_session_that_is_left_is_reported(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    plants.before_commit_of_load(monkeypatch, plants.leave_session)
    try:
        assert "a session or lock of rowback is left" in broken(server, LOAD)
    finally:
        for pid in planted():
            os.kill(pid, signal.SIGKILL)


def planted() -> Iterator[int]:
    """The processes that a plant started, by the mark in their command line."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if path.read_bytes().endswith(plants.PLANTED.encode() + b"\0"):
                yield int(path.parent.name)
