"""Two readings of a database's counters → what went and changed between them; and which reading is taken."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from recovery.incident.counter_jumps import compare
from recovery.model.counter_reading import FULL, Counted, Reading
from recovery.store.counter_readings import KEPT, reading_before, remember_reading

AT = datetime(2026, 11, 22, 2, 0, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def counted(
    rows: int, *, oid: int = 7, file: int = 1, inserted: int = 10_000, updated: int = 50, deleted: int = 70
) -> Counted:
    return Counted(oid=oid, file=file, rows_estimate=rows, inserted=inserted, updated=updated, deleted=deleted)


def reading(at: datetime = AT, *, reset_at: datetime | None = None, **tables: Counted) -> Reading:
    return Reading(at=at, reset_at=reset_at, tables=tables)


def told(then: Counted, now: Counted) -> list[str]:
    return [str(jump) for jump in compare(reading(t=then), reading(AT + HOUR, t=now)).jumps.values()]


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (counted(0, file=2), "; its file was replaced since, as TRUNCATE does"),
        (counted(20, deleted=1050), "; 980 deleted since, rolled back or not"),
        (counted(1000, updated=150), "; 100 updated since, rolled back or not"),
        (
            counted(500, file=2, deleted=570, updated=51),
            "; 500 deleted since, rolled back or not; 1 updated since, rolled back or not;"
            " its file was replaced since, as TRUNCATE does",
        ),
        (counted(0, oid=8, file=8, inserted=0, updated=0, deleted=0), "; it was dropped and made anew since"),
    ],
)
def test_what_became_of_a_table(now: Counted, said: str) -> None:
    assert told(counted(1000), now) == [f"t: about 1,000 rows at 2026-11-22T02:00:00Z, {now.rows_estimate:,} now{said}"]


@pytest.mark.parametrize(
    "now",
    [
        counted(1000),
        counted(1030, inserted=10_030),
        counted(995, file=2),  # VACUUM FULL, and the estimate is a little off
        counted(950, deleted=120, updated=99),  # 99 of 1,000 rows
        counted(0, inserted=0, updated=0, deleted=0),  # a crash: the server has forgotten
    ],
)
def test_everyday_life_is_not_told(now: Counted) -> None:
    assert told(counted(1000), now) == []


def test_where_the_server_has_counted_nothing_nothing_is_told() -> None:
    """Twice crashed: then the planner's number stands in, which a rewrite of the table sets to none."""
    forgot = {"inserted": 0, "updated": 0, "deleted": 0}
    assert told(counted(4000, **forgot), counted(0, file=2, **forgot)) == []


def test_counters_that_began_anew_are_not_compared() -> None:
    then, now = reading(t=counted(1000)), reading(AT + HOUR, reset_at=AT + HOUR / 2, t=counted(0, file=2))
    assert compare(then, now).jumps == {}


def test_what_shrank_most_comes_first_however_busy_a_queue_is() -> None:
    then = reading(queue=counted(40), big=counted(10**6), lost=counted(30), half=counted(100))
    now = reading(
        AT + HOUR,
        queue=counted(40, deleted=9 * 10**6),
        big=counted(10**6, updated=10**5),
        lost=counted(0, file=9),
        half=counted(50, deleted=120),
    )
    assert list(compare(then, now).jumps) == ["lost", "half", "queue", "big"]


def test_a_table_that_is_no_longer_there() -> None:
    then = reading(few=counted(3), many=counted(2000), none=counted(0), stays=counted(7))
    assert compare(then, reading(AT + HOUR, stays=counted(7))).dropped == (
        "many: about 2,000 rows at 2026-11-22T02:00:00Z; no table has this name now",
        "few: about 3 rows at 2026-11-22T02:00:00Z; no table has this name now",
    )


def test_a_full_reading_says_nothing_of_what_it_leaves_out() -> None:
    tables: dict[str, Any] = {f"t{n}": counted(1) for n in range(FULL)}
    full = reading(AT + HOUR, **tables)
    assert compare(reading(gone=counted(5)), full).dropped == ()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROWBACK_HOME", str(tmp_path))
    return tmp_path


def test_the_last_reading_before_a_moment_or_else_the_oldest(home: Path) -> None:
    for hours in (0, 2, 4):
        remember_reading(reading(AT + hours * HOUR), "db-X", "docs")
    remember_reading(reading(AT + 3 * HOUR), "db-X", "billing")
    found = [reading_before(AT + hours * HOUR, "db-X", "docs") for hours in (-1, 0, 3, 9)]
    assert [(one.at - AT) / HOUR for one in found if one] == [0, 0, 2, 4]
    assert reading_before(AT, "db-X", "no/such") is None


def test_a_look_right_after_the_loss_does_not_count(home: Path) -> None:
    """Somebody tired runs doctor first."""
    remember_reading(reading(), "db-X", "docs")
    remember_reading(reading(AT + HOUR / 2), "db-X", "docs")
    assert len(list((home / "readings" / "db-X docs").iterdir())) == 1


def test_the_oldest_go_and_what_cannot_be_read_is_none(home: Path) -> None:
    for hours in range(KEPT + 2):
        remember_reading(reading(AT + hours * HOUR), "db-X", "a/../b")
    directory = home / "readings" / "db-X a%2F..%2Fb"
    assert len(list(directory.iterdir())) == KEPT
    oldest = min(directory.iterdir())
    assert oldest.name == "20261122-040000.json"
    oldest.write_bytes(b"\xff{")
    found = reading_before(AT, "db-X", "a/../b")
    assert found
    assert found.at == AT + 3 * HOUR


def test_only_files_are_read_and_the_future_hinders_nobody(home: Path) -> None:
    directory = home / "readings" / "db-X docs"
    directory.mkdir(parents=True)
    os.mkfifo(directory / "a.json")  # would wait for somebody to write
    remember_reading(reading(AT + 24 * 365 * HOUR), "db-X", "docs")
    remember_reading(reading(), "db-X", "docs")
    found = reading_before(AT + HOUR, "db-X", "docs")
    assert found
    assert found.at == AT


def test_a_home_that_cannot_be_written_to_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROWBACK_HOME", "/proc/self/nowhere")
    remember_reading(reading(), "db-X", "docs")
    assert reading_before(AT, "db-X", "docs") is None
