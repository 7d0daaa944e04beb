"""A RULE that keeps an audit trail: putting rows back writes no trail, and the rule stays."""

from __future__ import annotations

import pytest

from tests.kinds.harness import World

pytestmark = pytest.mark.kinds

TILL = """
create table sales (id int primary key, cents int not null);
create table sales_seen (n bigint generated always as identity primary key, sale_id int not null);
create rule see_sales as on insert to sales do also insert into sales_seen (sale_id) values (new.id);
insert into sales select g, g * 9 from generate_series(1, 65) g;
"""
MISTAKES = {"by row": "delete from sales where id % 3 = 0", "whole": "truncate sales"}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES.keys())
def test_rows_come_back_without_a_trail(world: World, mistake: str) -> None:
    """Lost sales are back and the trail keeps its 65 rows; or the plan refuses, before a copy, and names the rule."""
    world.past(TILL)
    world.incident(mistake)
    left = world.rows("public.sales")
    planned = world.run("plan", *world.at())
    if planned.code == 0:
        world.restore()
        world.as_before("public.sales")
        world.counts("public.sales", back=65 - len(left))
    else:
        assert "see_sales" in planned.err
        assert "  help: " in planned.err
        assert world.run(*world.arguments()).code == planned.code
        world.holds("public.sales", left)
        world.no_copy_was_made()
    world.as_before("public.sales_seen")
    assert world.look("select ev_enabled::text from pg_rewrite where rulename = 'see_sales'") == [("O",)]
