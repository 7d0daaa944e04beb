"""The bad UPDATE ran behind a savepoint: its rows carry another id than the one that logs show."""

from __future__ import annotations

import pytest

from tests.kinds.harness import NOTHING, RECOVERED, World, has_rows

pytestmark = pytest.mark.kinds

STORE = """
create table nightly (id int primary key, note text not null);
create table wares (id int primary key, label text not null, n int not null);
insert into wares select g, 'ware ' || g, g from generate_series(1, 80) g;
"""
MISTAKE = """
insert into nightly values (1, 'started');
do $$ begin
  for i in 1..30 loop
    begin
      insert into nightly values (50 + i, 'try');
      raise exception 'once more';
    exception when raise_exception then null;
    end;
  end loop;
end $$;
do $$ begin
  update wares set label = '?' where id % 4 = 0;
exception when others then raise;
end $$;
"""
LATER = "update wares set n = n + 500 where id = 7"


def test_the_id_that_logs_show_is_given(world: World) -> None:
    """The 20 labels are right again, or nothing is written and both ids are told."""
    world.past(STORE)
    top = world.incident(MISTAKE)
    ((inner,),) = world.look("select distinct xmin::text from public.wares where label = '?'")
    assert int(inner) - top in range(31, 60)
    world.good(LATER)
    before, nightly = world.rows("public.wares"), world.rows("public.nightly")
    ran = world.restore(
        "--mode", "repair", "--table", "public.wares", "--incident-xid", str(top), code=(RECOVERED, NOTHING)
    )
    world.holds("public.nightly", nightly)
    if ran.code == RECOVERED:
        world.holds("public.wares", [*world.without("public.wares", 7), (7, "ware 7", 507)])
        world.counts("public.wares", back=20)
        return
    world.holds("public.wares", before)
    for untrue in ("nothing was lost", "was rewritten by others"):
        assert untrue not in ran.err
    assert str(top) in ran.err
    assert any(inner in line and has_rows(line, 20) for line in ran.err.splitlines()), ran.err
    assert "savepoint" in ran.err


def test_the_id_behind_the_savepoint_is_given_too(world: World) -> None:
    """The 20 labels are right again, and the later n of ware 7 stays."""
    world.past(STORE)
    top = world.incident(MISTAKE)
    ((inner,),) = world.look("select distinct xmin::text from public.wares where label = '?'")
    world.good(LATER)
    world.restore(
        "--mode", "repair", "--table", "public.wares", "--incident-xid", str(top), "--incident-xid", str(inner)
    )
    world.holds("public.wares", [*world.without("public.wares", 7), (7, "ware 7", 507)])
    world.counts("public.wares", back=20)
