"""A table is to be loaded whole, and a parent of its rows leaves before the load: the rest comes back all the same.

However the key is checked: row by row, at the end of the transaction, or by one statement where many rows come or keys
form a circle. The first version refused the whole load in the last two.
"""

from __future__ import annotations

import pytest

from recovery.reload.foreign_keys_by_sets import ROWS_BY_SETS
from tests.kinds.harness import IN_PART, RECOVERED, World

pytestmark = pytest.mark.kinds

PARENTS = (
    "create table parents (id int primary key, name text)",
    "insert into parents select g, 'p' || g from generate_series(1, 10) g",
)
CIRCLE = (
    "create table others (id int primary key, child int references children)",
    "alter table children add foreign key (up) references others",
)


def children(rows: int, key: str) -> list[str]:
    return [
        *PARENTS,
        f"create table children (id int primary key, parent int references parents {key}, up int)",
        f"insert into children select g, 1 + g % 10 from generate_series(1, {rows}) g",
    ]


@pytest.mark.parametrize(
    "past",
    [
        children(50, ""),
        children(50, "deferrable initially deferred"),
        children(ROWS_BY_SETS, ""),
        [*children(50, ""), *CIRCLE, "insert into others values (1, 1)", "update children set up = 1 where id = 2"],
    ],
    ids=["row by row", "deferred", "in sets", "in a circle"],
)
@pytest.mark.parametrize("scope", [(), ("--except", "public.parents")], ids=["followed", "alone"])
def test_the_other_rows_come_back(world: World, past: list[str], scope: tuple[str, ...]) -> None:
    world.past(*past)
    world.incident("truncate children cascade")
    case = world.cli("open", *world.at("--table", "public.children", *scope)).out.strip()
    digest = world.cli("diff", case, "--digest").out.strip()
    world.good("delete from parents where id = 7")
    parents = world.rows("public.parents")
    ran = world.run("apply", case, digest, "--confirm", world.database.name)
    if scope:
        assert ran.code == IN_PART, ran.err
        world.holds("public.parents", parents)
        world.holds("public.children", [row for row in world.held["public.children"] if row[1] != 7])
    else:
        assert ran.code == RECOVERED, ran.err
        world.as_before("public.parents", "public.children")
    if "public.others" in world.held:
        world.as_before("public.others")
