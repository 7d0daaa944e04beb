"""Undo after people went on working with some parents: it does not take children away from those that stay."""

from __future__ import annotations

import re

import pytest

from tests.fix_cli import Ran
from tests.fix_lab import wait_until
from tests.kinds.harness import IN_PART, RECOVERED, Row, World

pytestmark = pytest.mark.kinds

CATERING = """
create table trays (id int primary key, state text not null);
create table dishes (id int primary key, tray_id int not null references trays on delete cascade, grams int not null);
insert into trays select g, 'laid' from generate_series(1, 40) g;
insert into dishes select g, 1 + g % 40, g * 10 from generate_series(1, 160) g;
"""
UNDO_IN_PART = 48


def served(rows: list[Row]) -> list[Row]:
    """The trays with what people wrote to the first 6 after they were back."""
    return [(number, "served" if number <= 6 else state) for number, state in rows]


@pytest.fixture
def put_back(world: World) -> World:
    """15 trays and their 60 dishes were deleted and put back; then 6 of the trays were served."""
    world.past(CATERING)
    world.incident("delete from trays where id <= 15")
    world.restore()
    world.as_before("public.trays", "public.dishes")
    world.good("update trays set state = 'served' where id <= 6")
    return world


def undo(world: World, *extra: str) -> Ran:
    return world.run("undo", world.case, *extra)


def tells(text: str, table: str, rows: int) -> bool:
    return any(table in line and re.search(rf"(?<!\d){rows}(?!\d)", line) for line in text.splitlines())


def test_undo_refuses_to_leave_half(put_back: World) -> None:
    """6 trays were changed since and have to stay, and so their 24 dishes: told, and nothing is written."""
    world = put_back
    ran = undo(world, "--confirm", world.database.name)
    assert ran.code == UNDO_IN_PART, ran.out + ran.err
    world.holds("public.trays", served(world.held["public.trays"]))
    world.as_before("public.dishes")
    assert "error[undo-in-part]: " in ran.err
    assert tells(ran.err, "public.trays", 6), ran.err
    assert tells(ran.err, "public.dishes", 24), ran.err
    assert "--accept-partial" in ran.err


def test_a_dry_run_shows_the_same_and_writes_nothing(put_back: World) -> None:
    """What would go (9 trays, 36 dishes) and what would stay (6 and 24)."""
    world = put_back
    ran = undo(world, "--dry-run")
    assert ran.code == 0, ran.err
    world.holds("public.trays", served(world.held["public.trays"]))
    world.as_before("public.dishes")
    for table, rows in (("public.trays", 6), ("public.trays", 9), ("public.dishes", 24), ("public.dishes", 36)):
        assert tells(ran.out, table, rows), ran.out


def test_the_part_that_can_be_taken_back_whole(put_back: World) -> None:
    """With --accept-partial trays 7-15 and their dishes go; no tray is left without its dishes."""
    world = put_back
    ran = undo(world, "--confirm", world.database.name, "--accept-partial")
    assert ran.code == 0, ran.err
    world.holds("public.trays", served([row for row in world.held["public.trays"] if not 7 <= row[0] <= 15]))
    world.holds("public.dishes", [row for row in world.held["public.dishes"] if not 7 <= row[1] <= 15])
    assert tells(ran.out, "public.trays", 6), ran.out
    assert tells(ran.out, "public.dishes", 24), ran.out


PARTS = """
create table orders (id int primary key, state text);
create table "line;s" (order_id int references orders on delete {on_delete}, sku text, pieces int);
create table labels (code text unique, body text);
insert into orders select g, 'new' from generate_series(1, 12) g;
insert into "line;s" select 1 + g % 9, 'sku ' || g % 5, g % 3 from generate_series(1, 40) g;
insert into "line;s" select 3, 'same', 1 from generate_series(1, 4);
insert into labels values (null, 'without'), ('a', 'one'), ('b', 'two');
"""
TABLES = ('public."line;s"', "public.labels", "public.orders")


@pytest.mark.parametrize("on_delete", ["cascade", "no action"])
@pytest.mark.parametrize("mode", ["missing", "replace"])
@pytest.mark.parametrize("incident", ["truncate orders cascade", "delete from orders where id < 8"])
def test_children_without_a_key_leave_with_their_parents(
    world: World, incident: str, mode: str, on_delete: str
) -> None:
    """The undo deletes them as well, so they keep nobody. Equal ones count each; rows that others added stay."""
    world.past(PARTS.format(on_delete=on_delete))
    world.incident('delete from "line;s" where order_id < 8', incident, "update labels set body = 'x' where code = 'a'")
    world.good("insert into orders values (100, 'other')", "insert into \"line;s\" values (100, 'other', 1)")
    damaged = {name: world.rows(name) for name in TABLES}
    extra = ("--confirm-loss", "3") if mode == "replace" else ()
    world.restore("--mode", mode, *extra, code=(RECOVERED, IN_PART))
    assert world.rows("public.orders") != damaged["public.orders"]
    ran = undo(world, "--confirm", world.database.name)
    assert ran.code == 0, ran.out + ran.err
    for name in TABLES:
        world.holds(name, damaged[name])


WAITING = """
select count(*) from pg_locks l join pg_stat_activity a using (pid)
where not l.granted and a.application_name = 'rowback' and a.datname = current_database()
"""


@pytest.mark.parametrize("accepts", ["nothing", "a part"])
def test_rows_that_people_change_while_an_undo_waits_for_its_locks(world: World, accepts: str) -> None:
    """Somebody's update is not committed yet when the undo plans, and is when it has its locks. It plans anew: what it
    then refuses, or leaves, is exactly that tray with its dishes."""
    world.past(CATERING)
    world.incident("delete from trays where id <= 15")
    gone = {name: world.rows(name) for name in ("public.trays", "public.dishes")}
    world.restore()
    extra = ("--accept-partial",) if accepts == "a part" else ()
    with world.database.connect() as other:
        other.autocommit = False
        other.execute("update trays set state = 'served' where id = 3")
        running = world.cli.start("undo", world.case, "--confirm", world.database.name, *extra)
        wait_until(lambda: world.look(WAITING) != [(0,)], "the undo waits for its lock", 60)
        other.commit()
    out, err = running.communicate(timeout=120)
    assert err.count("1 row changed by others while the undo began: planned anew\n") == 1, err
    if accepts == "nothing":
        assert running.returncode == UNDO_IN_PART, out + err
        world.as_before("public.dishes")
        return
    assert running.returncode == 0, out + err
    kept = [row for row in world.held["public.dishes"] if row[1] == 3]
    world.holds("public.trays", [*gone["public.trays"], (3, "served")])
    world.holds("public.dishes", [*gone["public.dishes"], *kept])
