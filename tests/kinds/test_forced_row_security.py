"""FORCE ROW LEVEL SECURITY on a child: its rows come back or are told, and no run stops after the copy."""

from __future__ import annotations

import pytest

from tests.kinds.harness import IN_PART, RECOVERED, World

pytestmark = pytest.mark.kinds

FIRMS = """
create table firms (id int primary key, name text not null);
create table safes (id int primary key, firm_id int not null references firms on delete cascade, content text not null);
insert into firms select g, 'firm ' || g from generate_series(1, 12) g;
insert into safes select g, 1 + g % 12, 'content ' || g from generate_series(1, 36) g;
alter table safes enable row level security;
alter table safes force row level security;
create policy own_safes on safes using (firm_id = nullif(current_setting('app.firm', true), '')::int);
"""
SECURITY = "select relrowsecurity, relforcerowsecurity from pg_class where oid = 'public.safes'::regclass"


def lose_firms(world: World) -> None:
    """3 firms are deleted and 9 safes follow, which their owner does not see."""
    world.past(FIRMS)
    assert len(world.held["public.safes"]) == 36
    assert world.database.rows("select * from safes") == []
    world.incident("delete from firms where id > 9")
    assert len(world.rows("public.safes")) == 27


def safes_that_stayed(world: World) -> list[tuple[object, ...]]:
    return [row for row in world.held["public.safes"] if row[1] <= 9]


def back_or_told(world: World) -> None:
    world.as_before("public.firms")
    if world.ran.code == RECOVERED:
        world.as_before("public.safes")
        world.counts("public.safes", back=9)
    else:
        world.holds("public.safes", safes_that_stayed(world))
        world.told("public.safes", 9)
        world.counts("public.safes", back=0, lost=9)
    world.counts("public.firms", back=3)
    assert world.look(SECURITY) == [(True, True)]


def test_parents_are_asked_for(world: World) -> None:
    """3 firms are back; so are their 9 safes, or they are told; the plan knows it already."""
    lose_firms(world)
    planned = world.run("plan", *world.at("--table", "public.firms"))
    assert planned.code == 0, planned.err
    world.restore("--table", "public.firms", code=(RECOVERED, IN_PART))
    if world.ran.code == IN_PART:
        assert "public.safes" in planned.out + planned.err
    back_or_told(world)


def test_the_child_is_excepted(world: World) -> None:
    """3 firms are back, the 9 safes are told as left out."""
    lose_firms(world)
    world.restore("--table", "public.firms", "--except", "public.safes", code=IN_PART)
    world.as_before("public.firms")
    world.holds("public.safes", safes_that_stayed(world))
    world.told("public.safes", 9)
    world.counts("public.firms", back=3)
    assert world.account()["public.safes"]["left_out"][0]["rows"] == 9
    assert world.look(SECURITY) == [(True, True)]


def test_the_whole_database(world: World) -> None:
    """As with the parents alone; or the plan refuses and names --except."""
    lose_firms(world)
    planned = world.run("plan", *world.at())
    if planned.code == 0:
        world.restore(code=(RECOVERED, IN_PART))
        back_or_told(world)
        return
    assert "--except public.safes" in planned.err
    assert world.run(*world.arguments()).code == planned.code
    world.no_copy_was_made()
    assert world.look(SECURITY) == [(True, True)]
