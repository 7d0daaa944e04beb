"""Maintenance moved the rows of a DEFAULT partition since T: they are not lost, and no row comes twice."""

from __future__ import annotations

import pytest

from tests.kinds.harness import World

pytestmark = pytest.mark.kinds

STATION = """
create table arrivals (no bigint not null, day date not null, wagons int not null, primary key (no, day))
  partition by range (day);
create table arrivals_may partition of arrivals for values from ('2026-05-01') to ('2026-06-01');
create table arrivals_rest partition of arrivals default;
insert into arrivals select g, date '2026-05-01' + g % 31, g from generate_series(1, 45) g;
insert into arrivals select 900 + g, date '2026-06-01' + g % 30, g from generate_series(1, 65) g;
create table platforms (id int primary key, name text not null);
insert into platforms select g, 'platform ' || g from generate_series(1, 25) g;
"""
MAINTENANCE = """
create table arrivals_june (like arrivals including all);
insert into arrivals_june select * from arrivals_rest;
truncate arrivals_rest;
alter table arrivals attach partition arrivals_june for values from ('2026-06-01') to ('2026-07-01');
"""


def test_rows_moved_to_another_partition_are_found_there(world: World) -> None:
    """25 platforms and 45 arrivals of May are lost and come back; 65 of June lie in a partition of their own now."""
    world.past(STATION)
    world.good(MAINTENANCE)
    world.incident("truncate platforms, arrivals_may")
    world.restore()
    world.as_before("public.platforms", "public.arrivals_may")
    world.holds("public.arrivals_june", world.held["public.arrivals_rest"])
    world.holds("public.arrivals_rest", [])
    world.said("public.arrivals_rest", "arrivals_june", rows=65)
    world.counts("public.arrivals_may", back=45)
