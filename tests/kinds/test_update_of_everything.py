"""An UPDATE without WHERE: every row is right again but the one that somebody changed since."""

from __future__ import annotations

import pytest

from tests.kinds.harness import IN_PART, World

pytestmark = pytest.mark.kinds

ROWS = 2000
STOCK = f"""
create table parts (id bigint primary key, price int not null, memo text not null);
insert into parts select g, 3 + g % 400, 'memo ' || g from generate_series(1, {ROWS}) g;
"""
LATER = "update parts set memo = 'later' where id = 11"


def test_all_rows_but_the_one_to_decide(world: World) -> None:
    """1,999 prices are right again; part 11 keeps what was written to it since and is told as a row to decide."""
    world.past(STOCK)
    incident = world.incident("update parts set price = -1")
    world.good(LATER)
    world.restore("--mode", "repair", "--table", "public.parts", "--incident-xid", str(incident), code=IN_PART)
    world.holds("public.parts", [*world.without("public.parts", 11), (11, -1, "later")])
    world.told("public.parts", 1)
    world.counts("public.parts", back=ROWS - 1, lost=1)
    assert world.account()["public.parts"]["conflict"] == 1


def test_all_rows_where_the_columns_of_one_are_merged(world: World) -> None:
    """With --on-conflict merge part 11 has its price of T and the memo of today."""
    world.past(STOCK)
    incident = world.incident("update parts set price = -1")
    world.good(LATER)
    world.restore(
        "--mode", "repair", "--table", "public.parts", "--incident-xid", str(incident), "--on-conflict", "merge"
    )
    world.holds("public.parts", [*world.without("public.parts", 11), (11, 14, "later")])
    entry = world.account()["public.parts"]
    assert entry["back"] + entry["kept_newer"] == ROWS
