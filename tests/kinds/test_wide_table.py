"""A table of as many columns as PostgreSQL allows: its rows come back, or are told, and stop no other table."""

from __future__ import annotations

import pytest

from tests.kinds.harness import IN_PART, RECOVERED, World

pytestmark = pytest.mark.kinds

MOST_COLUMNS = 1600
COLUMNS = ", ".join(f"m{n} smallint" for n in range(1, MOST_COLUMNS))


def test_a_table_of_1600_columns_and_a_plain_one(world: World) -> None:
    """8 of 24 wide rows and 5 of 15 plain ones deleted: the plain ones are back in any case."""
    world.past(
        f"create table meters (id int primary key, {COLUMNS})",
        "insert into meters (id, m1, m1599) select g, g, -g from generate_series(1, 24) g",
        "create table jottings (id int primary key, body text)",
        "insert into jottings select g, 'jotting ' || g from generate_series(1, 15) g",
    )
    world.incident("delete from meters where id <= 8", "delete from jottings where id <= 5")
    ran = world.restore(code=(RECOVERED, IN_PART))
    world.as_before("public.jottings")
    world.counts("public.jottings", back=5)
    if ran.code == RECOVERED:
        world.as_before("public.meters")
        world.counts("public.meters", back=8)
    else:
        world.holds("public.meters", world.without("public.meters", *range(1, 9)))
        world.told("public.meters", 8, "columns")
        world.counts("public.meters", back=0, lost=8)
    assert world.look(
        "select count(*) from pg_attribute where attrelid = 'public.meters'::regclass and attnum > 0"
    ) == [(MOST_COLUMNS,)]
