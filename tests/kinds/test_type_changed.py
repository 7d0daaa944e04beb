"""A column was given another type since T: rows come back where it holds what they held, never in other units."""

from __future__ import annotations

import pytest

from tests.kinds.harness import IN_PART, World

pytestmark = pytest.mark.kinds

SHELVES = """
create table jars (id int primary key, grams numeric(8,2), label varchar(40), slot bigint, code char(4), note text);
insert into jars select g, g * 1.25, 'jar ' || g, 100 + g, 'c' || g, (7 * g)::text from generate_series(1, 90) g;
create table lids (id int primary key, width int not null);
insert into lids select g, 10 * g from generate_series(1, 40) g;
"""


@pytest.mark.parametrize(
    ("change", "mistake"),
    [
        ("alter table jars alter grams type numeric(12,4), alter slot type int", "delete from jars where id > 60"),
        ("alter table jars alter label type varchar(10), alter code type text", "truncate jars"),
        ("alter table jars alter note type int using note::int, alter grams type float8", "delete from jars"),
    ],
)
def test_rows_fit_where_the_new_type_holds_them(world: World, change: str, mistake: str) -> None:
    """Each value at T is a value of the new type, also of a narrower one: all rows come back as the server converts."""
    world.past(SHELVES)
    world.good(change)
    world.held["public.jars"] = world.rows("public.jars")
    world.incident(mistake)
    world.restore()
    world.as_before("public.jars", "public.lids")


def test_a_type_that_cannot_hold_a_value_is_named(world: World) -> None:
    """No label of 6 characters fits any more: jars are left out with an example, lids come back."""
    world.past(SHELVES)
    world.incident("delete from jars where id >= 10", "truncate lids")
    world.good("alter table jars alter label type varchar(5)")
    world.restore(code=IN_PART)
    world.as_before("public.lids")
    world.said("public.jars", "label", "jar 10 would become jar 1")


def test_values_that_were_converted_are_not_mixed_with_those_of_t(world: World) -> None:
    """Widths became millimetres since T: 25 lost rows must not come back in centimetres."""
    world.past(SHELVES)
    world.good("alter table lids alter width type bigint using width * 10")
    left = [(n, 100 * n) for n in range(1, 41) if n <= 15]
    world.incident("delete from lids where id > 15", "delete from jars where id <= 3")
    world.restore(code=IN_PART)
    world.holds("public.lids", left)
    world.as_before("public.jars")
    world.told("public.lids", 25, "width", "integer → bigint")
