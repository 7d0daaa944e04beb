"""Columns that are renamed, swapped or made anew after the comparison: values go into no column but their own."""

from __future__ import annotations

import pytest

from tests.kinds.fix_undo import directory, undo
from tests.kinds.harness import World

pytestmark = pytest.mark.kinds

PEOPLE = """
create table people (id int primary key, given text, family text);
insert into people select g, 'given ' || g, 'family ' || g from generate_series(1, 40) g;
"""
INCIDENT = ("delete from people where id % 4 = 0", "update people set given = 'x' where id % 5 = 0")
DRIFT = 25
RENAMED = "column given was dropped or renamed"
CHANGES = {
    "swapped": (
        ["rename given to other", "rename family to given", "rename other to family"],
        ["column given is another one now", "column family is another one now"],
    ),
    "renamed": (["rename given to forename"], [RENAMED]),
    "dropped": (["drop given"], [RENAMED]),
    "made anew": (["drop given", "add given text"], ["column given is another one now"]),
    "taken over": (["rename given to forename", "add given text"], ["column given is another one now"]),
}


def change(world: World, how: str) -> list[tuple[object, ...]]:
    """The columns change; returns the rows of then."""
    world.good(*(f"alter table people {statement}" for statement in CHANGES[how][0]))
    return world.rows("public.people")


@pytest.mark.parametrize("how", CHANGES)
def test_nothing_is_applied_to_columns_that_changed(world: World, how: str) -> None:
    """Compared, then the columns change, then applied: refused, each column named, no row touched."""
    world.past(PEOPLE)
    xid = world.incident(*INCIDENT)
    case = world.cli("open", *world.at("--mode", "repair", "--incident-xid", str(xid))).out.strip()
    digest = world.cli("diff", case, "--digest").out.strip()
    rows = change(world, how)
    ran = world.run("apply", case, digest, "--confirm", world.database.name)
    assert ran.code == DRIFT, ran.out + ran.err
    assert world.rows("public.people") == rows
    for line in CHANGES[how][1]:
        assert f"\n  {line}\n" in ran.err, ran.err
    assert "  nothing was written to the original\n" in ran.err


@pytest.mark.parametrize("record", ["change set", "before-images"])
@pytest.mark.parametrize("how", CHANGES)
def test_nothing_is_undone_into_columns_that_changed(world: World, how: str, record: str) -> None:
    """Repaired, then the columns change, then undone: refused by either record, no row touched. Named as before, the
    values come back into them."""
    world.past(PEOPLE)
    xid = world.incident(*INCIDENT)
    damaged = world.rows("public.people")
    world.restore("--mode", "repair", "--incident-xid", str(xid))
    world.as_before("public.people")
    if record == "before-images":
        (directory(world) / "changes-1.sqlite").unlink()
    rows = change(world, how)
    ran = undo(world)
    assert ran.code == DRIFT, ran.out + ran.err
    assert world.rows("public.people") == rows
    for line in CHANGES[how][1]:
        assert f"\n  public.people: {line}\n" in ran.err, ran.err
    assert (
        "  help: give the columns the names they had, then undo; or take the rows back by hand, out of the" in ran.err
    )
    if how in ("swapped", "renamed"):
        world.good(*(f"alter table people {statement}" for statement in BACK[how]))
        assert undo(world).code == 0, world.ran.out + world.ran.err
        world.holds("public.people", damaged)


BACK = {
    "swapped": ("rename given to other", "rename family to given", "rename other to family"),
    "renamed": ("rename forename to given",),
}
