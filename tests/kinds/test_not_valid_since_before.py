"""NOT VALID constraints with old offenders that were there at T: no row keeps another one away."""

from __future__ import annotations

import psycopg
import pytest

from tests.kinds.harness import IN_PART, World

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
    [
        "truncate crews, moorings, logbook",
        "with c as (delete from crews), m as (delete from moorings) delete from logbook where id > 3",
    ],
    ids=["truncated", "deleted"],
)
def test_old_offenders_keep_nothing_else_from_coming_back(world: World, mistake: str) -> None:
    """The 3 guests come back past the check, and the mooring past the key whose berth never was; both constraints are
    NOT VALID again afterwards, and refuse new offenders."""
    world.past(HARBOUR)
    world.incident(mistake)
    ran = world.restore()
    world.as_before("public.berths", "public.logbook", "public.crews", "public.moorings")
    world.counts("public.crews", back=54)
    world.counts("public.moorings", back=70)
    assert 'check "no_guests" is NOT VALID, and 3 rows of T violate it' in ran.out + ran.err
    assert 'foreign key "moorings_berth" is NOT VALID, and 1 rows of T violate it' in ran.out + ran.err
    for offender in ("insert into crews values (1, 'guest')", "insert into moorings values (1, 778)"):
        with pytest.raises(psycopg.IntegrityError):
            world.database.run(offender)
    assert world.look(CONSTRAINTS) == [("moorings_berth", False), ("no_guests", False)]
    assert world.look(COMMENT) == [("captains only",)]


def test_a_child_whose_parent_cannot_come_back_stays_away_though_its_key_is_lifted(world: World) -> None:
    """Berth 5 is taken by a newcomer's label: its moorings wait for it, the one that never had a berth does not."""
    world.past(HARBOUR, "create unique index on berths (label)")
    world.incident("delete from moorings", "delete from berths where id = 5")
    world.good("insert into berths values (99, 'berth 5')")
    berths = world.rows("public.berths")
    world.restore(code=IN_PART)
    world.holds("public.berths", berths)
    waiting = [row for row in world.held["public.moorings"] if row[1] == 5]
    world.holds("public.moorings", [row for row in world.held["public.moorings"] if row not in waiting])
    world.told("public.moorings", len(waiting), "berths")
    world.counts("public.moorings", back=70 - len(waiting), lost=len(waiting))
