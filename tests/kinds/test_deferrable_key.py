"""A DEFERRABLE primary key names its row as well as any other."""

from __future__ import annotations

import pytest

from tests.kinds.harness import World

pytestmark = pytest.mark.kinds

TOUR = """
create table halts (id int generated always as identity, rank int not null, town text not null,
  constraint halts_pkey primary key (id) deferrable initially immediate,
  constraint halts_rank unique (rank) deferrable initially deferred);
insert into halts (rank, town) select g, 'town ' || g from generate_series(1, 60) g;
"""
KEYS = """
select conname, condeferrable, condeferred from pg_constraint
where conrelid = 'public.halts'::regclass and contype in ('p', 'u') order by 1
"""


def test_rows_under_a_deferrable_key_come_back(world: World) -> None:
    """15 deleted and 12 changed rows of one transaction are right again, the later one is kept."""
    world.past(TOUR)
    incident = world.incident("delete from halts where id <= 15", "update halts set town = '' where id > 48")
    world.good("insert into halts (rank, town) values (900, 'later')")
    world.restore("--mode", "repair", "--incident-xid", str(incident))
    world.holds("public.halts", [*world.held["public.halts"], (61, 900, "later")])
    assert world.look(KEYS) == [("halts_pkey", True, False), ("halts_rank", True, True)]
    world.counts("public.halts", back=27)


def test_deleted_rows_under_a_deferrable_key_in_mode_missing(world: World) -> None:
    """The mode that needs no incident does the same for the deleted rows."""
    world.past(TOUR)
    world.incident("delete from halts where id <= 15")
    world.restore()
    world.as_before("public.halts")
    world.counts("public.halts", back=15)
