"""Rows of users in a table that is a member of an extension are put back, or told."""

from __future__ import annotations

import pytest

from tests.kinds.harness import IN_PART, RECOVERED, World

pytestmark = pytest.mark.kinds

PLANNER = """
create extension citext;
create schema planner;
create table planner.rota (task text primary key, minutes int not null, kept int);
alter extension citext add table planner.rota;
insert into planner.rota select 'task ' || g, g * 5, 30 from generate_series(1, 18) g;
create table shelves (id int primary key, boxes int not null);
insert into shelves select g, g * 4 from generate_series(1, 45) g;
"""
TABLE_UNKNOWN = 15


def test_a_member_table_is_not_passed_over_in_silence(world: World) -> None:
    """Both tables are emptied: the plain one is back, and so is the member, or it is told with its extension."""
    world.past(PLANNER)
    world.incident("truncate shelves, planner.rota")
    ran = world.restore(code=(RECOVERED, IN_PART))
    world.as_before("public.shelves")
    if ran.code == RECOVERED:
        world.as_before("planner.rota")
        world.counts("planner.rota", back=18)
    else:
        world.holds("planner.rota", [])
        world.told("planner.rota", 18, "citext")
        world.counts("planner.rota", back=0, lost=18)


def test_a_member_table_that_is_asked_for_by_name(world: World) -> None:
    """Its rows come back, or the refusal says what it is; it is not said not to exist."""
    world.past(PLANNER)
    world.incident("truncate shelves, planner.rota")
    ran = world.run(*world.arguments("--table", "planner.rota"))
    world.holds("public.shelves", [])
    if ran.code == RECOVERED:
        world.as_before("planner.rota")
        world.counts("planner.rota", back=18)
        return
    assert ran.code != TABLE_UNKNOWN, ran.err
    assert "no table matches" not in ran.err
    assert "citext" in ran.err
    assert "  help: " in ran.err
    world.no_copy_was_made()
