"""A domain got a constraint since T: values from before that it refuses stay away, all others come back."""

from __future__ import annotations

import pytest

from tests.kinds.harness import IN_PART, World

pytestmark = pytest.mark.kinds

WORKSHOP = """
create domain rating as text;
create table tools (id int primary key, name text not null, r rating);
insert into tools
  select 4000 + g, 'tool ' || g, case when g % 12 = 0 then '--' else 'R' || g % 6 end from generate_series(1, 60) g;
create table tests (id int primary key, r rating);
insert into tests select 6000 + g, case when g % 11 = 0 then '--' else 'T' || g % 8 end from generate_series(1, 33) g;
create table slips (id int primary key, body text);
insert into slips select g, 'slip ' || g from generate_series(1, 14) g;
"""


def test_values_that_the_domain_refuses_today(world: World) -> None:
    """Deleted row by row or truncated: 2 tools and 3 tests hold such a value, the other rows do not wait for them."""
    world.past(WORKSHOP)
    world.good("alter domain rating add constraint rating_form check (value ~ '^[A-Z][0-9]$') not valid")
    world.incident("delete from tools where id <= 4030", "truncate tests", "delete from slips where id % 2 = 0")
    world.restore(code=IN_PART)
    world.holds("public.tools", world.without("public.tools", 4012, 4024))
    world.holds("public.tests", world.without("public.tests", 6011, 6022, 6033))
    world.as_before("public.slips")
    assert world.look("select convalidated from pg_constraint where conname = 'rating_form'") == [(False,)]
    world.told("public.tools", 2, "rating_form")
    world.told("public.tests", 3, "rating_form")
    world.told_keys(4012, 4024, 6011, 6022, 6033)
    world.counts("public.tools", back=28, lost=2)
    world.counts("public.tests", back=30, lost=3)
    world.counts("public.slips", back=7)
