"""A migration rewrote the table since T: every row has a new writer, and yet they are the same rows."""

from __future__ import annotations

import pytest

from tests.kinds.harness import IN_PART, World

pytestmark = pytest.mark.kinds

ARCHIVE = """
create table boxes (id int primary key, label text not null, weight int not null);
insert into boxes select g, 'box ' || g, g * 3 from generate_series(1, 40) g;
create table files (id int primary key, box_id int not null references boxes, title text not null);
insert into files select g, 1 + g % 40, 'file ' || g from generate_series(1, 120) g;
create table slips (shelf int, note text);
insert into slips select g, 'slip ' || g from generate_series(1, 30) g;
"""


def test_edited_parents_of_a_rewritten_table_are_no_strangers(world: World) -> None:
    """Boxes got a wider weight, 4 a new label; 30 files were deleted, those of the edited boxes come back as well."""
    world.past(ARCHIVE)
    world.good("alter table boxes alter weight type bigint", "update boxes set label = 'relabelled' where id <= 4")
    boxes = world.rows("public.boxes")
    world.incident("delete from files where id <= 30")
    world.restore()
    world.holds("public.boxes", boxes)
    world.as_before("public.files")


def test_without_a_key_no_old_version_is_put_beside_the_new(world: World) -> None:
    """Slips were rewritten and 5 of them edited; 3 were deleted: which is which nobody can tell, so nothing comes."""
    world.past(ARCHIVE)
    world.good("alter table slips alter shelf type bigint", "update slips set note = 'edited' where shelf <= 5")
    world.incident("delete from slips where shelf > 27", "delete from files where id <= 3")
    slips = world.rows("public.slips")
    world.restore(code=IN_PART)
    world.holds("public.slips", slips)
    world.as_before("public.files")
    world.told("public.slips", 8)
