"""A GENERATED ALWAYS identity column outside the key got new values: only what can be written is planned."""

from __future__ import annotations

import pytest

from tests.kinds.harness import IN_PART, RECOVERED, World

pytestmark = pytest.mark.kinds

LOCKERS = """
create table lockers (id int primary key, tag bigint generated always as identity unique, owner text not null);
insert into lockers (id, owner) select g, 'owner ' || g from generate_series(1, 35) g;
"""
KIND = "select attidentity::text from pg_attribute where attrelid = 'public.lockers'::regclass and attname = 'tag'"


def test_a_column_that_no_update_can_set(world: World) -> None:
    """6 lockers got new tags, 5 were deleted: all is as at T, or the 6 are told with the column and the 5 are back."""
    world.past(LOCKERS)
    incident = world.incident(
        "update lockers set owner = '', tag = default where id <= 6", "delete from lockers where id > 30"
    )
    changed = [row for row in world.rows("public.lockers") if row[0] <= 6]
    ran = world.restore("--mode", "repair", "--incident-xid", str(incident), code=(RECOVERED, IN_PART))
    if ran.code == RECOVERED:
        world.as_before("public.lockers")
        world.counts("public.lockers", back=11)
    else:
        world.holds("public.lockers", [*changed, *world.without("public.lockers", 1, 2, 3, 4, 5, 6)])
        world.told("public.lockers", 6, "tag")
        world.counts("public.lockers", back=5, lost=6)
    assert world.look(KIND) == [("a",)]
