"""A table was dropped since T and another one made under its name: nobody's rows go into it unasked."""

from __future__ import annotations

import shlex

import pytest

from tests.kinds.harness import IN_PART, World

pytestmark = pytest.mark.kinds

BAKERY = """
create table loaves (id int primary key, kind text not null);
insert into loaves select g, 'loaf ' || g from generate_series(1, 30) g;
create table ovens (id int primary key, name text not null);
insert into ovens select g, 'oven ' || g from generate_series(1, 12) g;
"""


@pytest.mark.parametrize("rows", ["", "insert into loaves values (500, 'new bread')"], ids=["empty", "with rows"])
def test_the_old_rows_wait_for_a_word(world: World, rows: str) -> None:
    """5 ovens come back at once; 30 loaves of the old table go into the new one when it is named, as the help says."""
    world.past(BAKERY)
    world.incident("drop table loaves", "delete from ovens where id > 7")
    world.good("create table loaves (id int primary key, kind text not null)", *([rows] if rows else []))
    fresh = world.rows("public.loaves")
    ran = world.restore(code=IN_PART)
    world.as_before("public.ovens")
    world.holds("public.loaves", fresh)
    world.said("public.loaves", "dropped and made anew since T")
    (line,) = [line for line in ran.err.splitlines() if "put their rows into the new ones: " in line]
    close, _, again = line.partition("new ones: ")[2].partition(", then ")
    for command in (close, again):
        assert world.cli(*shlex.split(command)[1:]).code == 0, command
    world.holds("public.loaves", [*fresh, *world.held["public.loaves"]])


def test_a_whole_database_that_was_made_anew_is_asked_for_by_name(world: World) -> None:
    world.past(BAKERY)
    world.incident("drop table loaves, ovens")
    world.good(
        BAKERY.replace("insert into loaves", "insert into loaves select 1000, 'x' union all").replace(
            "insert into ovens", "insert into ovens select 1000, 'y' union all"
        ),
        "delete from loaves where id < 1000",
        "delete from ovens where id < 1000",
    )
    ran = world.restore(code=25)
    assert "error[schema-drift]: tables of T were made anew since, so nothing is compared unasked\n" in ran.err
    assert "a new plan that names them: --table public.loaves --table public.ovens\n" in ran.err
    assert world.cli("close", world.case).code == 0
    world.holds("public.loaves", [(1000, "x")])
