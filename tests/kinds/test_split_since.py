"""Maintenance moved rows into a table that it made: they are not lost, whether some stayed behind or none."""

from __future__ import annotations

import pytest

from tests.kinds.harness import IN_PART, NOTHING, World

pytestmark = pytest.mark.kinds

JOBS = (
    "create table jobs (id int primary key, state text not null)",
    "insert into jobs select g, case when g <= 12 then 'done' else 'open' end from generate_series(1, 20) g",
    "create table notes (id int primary key, body text)",
    "insert into notes select g, 'note ' || g from generate_series(1, 9) g",
)
SPLIT = (
    "create table jobs_done (like jobs including all)",
    "insert into jobs_done select * from jobs where {which}",
    "delete from jobs where {which}",
)


@pytest.mark.parametrize("which", ["state = 'done'", "true"], ids=["some", "all"])
def test_rows_that_were_split_off_stay_where_they_are(world: World, which: str) -> None:
    """9 notes were truncated afterwards: they are back; no job stands in two tables; the split is told by its name."""
    world.past(*JOBS)
    world.good(*(statement.format(which=which) for statement in SPLIT))
    left, moved = world.rows("public.jobs"), world.rows("public.jobs_done")
    world.incident("truncate notes")
    ran = world.restore(code=IN_PART)
    world.as_before("public.notes")
    world.holds("public.jobs", left)
    world.holds("public.jobs_done", moved)
    assert f"{len(moved)} rows" in ran.err
    assert "which was made since T: a table that was split off? (if it is but a backup: --except public.jobs_done)" in (
        ran.err
    )


def test_a_table_that_was_emptied_into_another_has_nothing_to_put_back(world: World) -> None:
    """All 20 jobs moved: not loaded whole beside themselves."""
    world.past(*JOBS)
    world.good(*(statement.format(which="true") for statement in SPLIT))
    world.restore("--table", "public.jobs", code=NOTHING)
    world.holds("public.jobs", [])
    assert len(world.rows("public.jobs_done")) == 20


def test_a_backup_that_is_named_as_one_hinders_nothing(world: World) -> None:
    """Somebody copied the rows before they were deleted: with --except the copy is none of the table's own."""
    world.past(*JOBS)
    world.good("create table jobs_backup as select * from jobs")
    world.incident("delete from jobs")
    world.restore("--except", "public.jobs_backup")
    world.as_before("public.jobs")


def test_a_partition_that_was_emptied_into_its_neighbour_gets_nothing_back(world: World) -> None:
    """All 10 rows changed their partition key and moved, and one other row was deleted: only that comes back."""
    world.past(
        "create table parcels (id int, depot text, weight int, primary key (id, depot)) partition by list (depot)",
        "create table parcels_north partition of parcels for values in ('north')",
        "create table parcels_south partition of parcels for values in ('south')",
        "insert into parcels select g, 'north', g from generate_series(1, 10) g",
        "insert into parcels select g, 'south', g from generate_series(11, 15) g",
    )
    world.good("update parcels set depot = 'south' where depot = 'north'")
    world.incident("delete from parcels where id = 15")
    world.restore(code=(0, IN_PART))
    rows = [(n, "south", n) for n in range(1, 16)]
    world.holds("public.parcels_north", [])
    world.holds("public.parcels_south", rows)
