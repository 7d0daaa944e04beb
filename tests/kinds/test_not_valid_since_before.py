"""NOT VALID constraints with old offenders that were there at T: no row keeps another one away."""

from __future__ import annotations

import pytest

from tests.kinds.harness import IN_PART, RECOVERED, World

pytestmark = pytest.mark.kinds

HARBOUR = """
create table crews (id int primary key, name text not null);
insert into crews
  select 2000 + g, case when g % 18 = 0 then 'guest ' || g else 'sailor ' || g end from generate_series(1, 54) g;
create table berths (id int primary key, label text not null);
insert into berths select g, 'berth ' || g from generate_series(1, 20) g;
create table moorings (id int primary key, berth_id int not null);
insert into moorings select 3000 + g, case when g = 31 then 777 else 1 + g % 20 end from generate_series(1, 70) g;
create table logbook (id int primary key, body text);
insert into logbook select g, 'entry ' || g from generate_series(1, 12) g;
alter table crews add constraint no_guests check (name !~ 'guest') not valid;
comment on constraint no_guests on crews is 'captains only';
alter table moorings add constraint moorings_berth
  foreign key (berth_id) references berths on delete cascade not valid;
"""
COMMENT = "select obj_description(oid, 'pg_constraint') from pg_constraint where conname = 'no_guests'"
CONSTRAINTS = """
select conname, convalidated from pg_constraint where conname in ('no_guests', 'moorings_berth') order by 1
"""


@pytest.mark.parametrize(
    "mistake",
    ["truncate crews, moorings, logbook", "with c as (delete from crews), m as (delete from moorings)"
     " delete from logbook where id > 3"],
    ids=["truncated", "deleted"],
)  # fmt: skip
def test_old_offenders_keep_nothing_else_from_coming_back(world: World, mistake: str) -> None:
    """The 3 guests come back past the check, which is NOT VALID again afterwards; of the moorings all come back, or all
    but the one without a berth, which is told."""
    world.past(HARBOUR)
    world.incident(mistake)
    ran = world.restore(code=(RECOVERED, IN_PART))
    world.as_before("public.berths", "public.logbook", "public.crews")
    world.counts("public.crews", back=54)
    if ran.code == RECOVERED:
        world.as_before("public.moorings")
        world.counts("public.moorings", back=70)
    else:
        world.holds("public.moorings", world.without("public.moorings", 3031))
        world.told("public.moorings", 1, "moorings_berth")
        world.told_keys(3031)
        world.counts("public.moorings", back=69, lost=1)
    assert world.look(CONSTRAINTS) == [("moorings_berth", False), ("no_guests", False)]
    assert world.look(COMMENT) == [("captains only",)]
