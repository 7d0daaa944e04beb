"""An undo rests on what was recorded: the change set by its digest, else the before-images, else nothing is written.

`apply` always compared the change set's digest; `undo` believed any file of that name and wrote 150 false values.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kinds.fix_undo import directory, undo
from tests.kinds.harness import Row, World

pytestmark = pytest.mark.kinds

PAST = """
create table orders (id int primary key, state text not null, note text);
create table "Weird Name; --" ("t" text primary key, n numeric);
create table pages (title text, hits int);
insert into orders select g, 'open', repeat('x', g % 7) from generate_series(1, 90) g;
insert into "Weird Name; --" select 'k' || g, g / 3.0 from generate_series(1, 30) g;
insert into pages select 'p' || g % 10, g % 3 from generate_series(1, 40) g;
"""
INCIDENT = (
    "update orders set state = 'closed' where id % 2 = 0",
    "delete from orders where id % 9 = 0",
    """delete from "Weird Name; --" where n > 5""",
    """insert into "Weird Name; --" values ('junk', 1), ('more junk', 2)""",
    "delete from pages where hits = 1",
)
TABLES = ('public."Weird Name; --"', "public.orders", "public.pages")
FACTS_CHANGED = 22


@pytest.fixture
def repaired(world: World) -> tuple[World, dict[str, list[Row]]]:
    """Rows lost, changed and added by one transaction, replaced as at T; with what the tables held before that."""
    world.past(PAST)
    world.incident(*INCIDENT)
    damaged = {name: world.rows(name) for name in TABLES}
    world.restore("--mode", "replace", "--confirm-loss", "42")
    world.as_before(*TABLES)
    return world, damaged


def alter(path: Path) -> None:
    with sqlite3.connect(path) as file:
        changed = file.execute("update change set live = replace(live, 'closed', 'never') where op = 'update'").rowcount
    assert changed


def link(path: Path) -> None:
    """The file elsewhere, and a link in its place."""
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def age(path: Path) -> None:
    """As rowback 0.2 wrote it: without a number of its format."""
    with sqlite3.connect(path) as file:
        file.execute("pragma user_version = 0")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "altered": alter,
    "missing": lambda path: path.unlink(),
    "emptied": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(b"no database" * 999),
    "a link": link,
    "of another version": age,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_without_its_change_set_an_undo_rests_on_the_before_images(
    repaired: tuple[World, dict[str, list[Row]]], damage: str
) -> None:
    """Every row is again as it was just before the repair, in tables with and without key, and that is said."""
    world, damaged = repaired
    DAMAGES[damage](directory(world) / "changes-1.sqlite")
    ran = undo(world)
    assert ran.code == 0, ran.out + ran.err
    for name in TABLES:
        world.holds(name, damaged[name])
    assert "rows are taken back by the before-images in schema rowback_case_" in ran.out + ran.err


def test_rows_that_others_changed_since_stay_by_the_images_too(repaired: tuple[World, dict[str, list[Row]]]) -> None:
    """One updated row, one that came back and one without a key are edited: the undo refuses the half, and names them.
    Accepted, it leaves exactly those."""
    world, damaged = repaired
    (directory(world) / "changes-1.sqlite").unlink()
    world.good(
        "update orders set note = 'edited' where id in (2, 9)",
        "update pages set title = 'edited' where ctid = (select min(ctid) from pages where hits = 1)",
    )
    edited = {name: world.rows(name) for name in TABLES}
    refused = undo(world)
    assert refused.code == 48, refused.out + refused.err
    for name in TABLES:
        world.holds(name, edited[name])
    ran = undo(world, "--accept-partial")
    assert ran.code == 0, ran.out + ran.err
    by_id = {row[0]: row for row in edited["public.orders"]}
    kept = [by_id[row[0]] if row[0] in (2, 9) else row for row in damaged["public.orders"]]
    world.holds("public.orders", [*kept, by_id[9]])
    world.holds("public.pages", [*damaged["public.pages"], ("edited", 1)])
    world.holds(TABLES[0], damaged[TABLES[0]])


@pytest.mark.parametrize("damage", ["delete from", "update", "drop table"])
def test_neither_altered_file_nor_altered_images_are_believed(
    repaired: tuple[World, dict[str, list[Row]]], damage: str
) -> None:
    """Both records are damaged: nothing is written, and both are named."""
    world, _ = repaired
    alter(directory(world) / "changes-1.sqlite")
    images = f"rowback_case_{world.case.replace('-', '_')}.before_1_{_number_of(world, 'orders')}"
    statement = {
        "delete from": f"delete from {images} where id = 2",
        "update": f"update {images} set state = 'never' where id = 2",
        "drop table": f"drop table {images}",
    }[damage]
    world.good(statement)
    ran = undo(world)
    assert ran.code == FACTS_CHANGED, ran.out + ran.err
    world.as_before(*TABLES)
    assert f"error[plan-facts-changed]: there is no record of what case {world.case} wrote" in ran.err
    assert "changes-1.sqlite was altered" in ran.err
    assert images in ran.err


def test_no_proof_by_an_altered_change_set(repaired: tuple[World, dict[str, list[Row]]]) -> None:
    """`verify` compares the original with the file: with another file that proves nothing."""
    world, _ = repaired
    alter(directory(world) / "changes-1.sqlite")
    ran = world.run("verify", world.case)
    assert ran.code == FACTS_CHANGED, ran.out + ran.err
    assert "changes-1.sqlite was altered, so what was written cannot be compared with it" in ran.err


def test_the_undo_of_an_undo_binds_to_its_own_change_set(repaired: tuple[World, dict[str, list[Row]]]) -> None:
    """There and back again, each time without the file of the write that is taken back."""
    world, damaged = repaired
    for number in (1, 2, 3):
        (directory(world) / f"changes-{number}.sqlite").unlink()
        assert undo(world).code == 0, world.ran.out + world.ran.err
        for name in TABLES:
            world.holds(name, damaged[name] if number % 2 else world.held[name])


def _number_of(world: World, table: str) -> int:
    records = (directory(world) / "journal.jsonl").read_text().splitlines()
    images = [r["data"]["images"] for line in records if (r := json.loads(line))["event"] == "load.intent"][-1]
    return int(images[f"public.{table}"]["relation"]["name"].rpartition("_")[2])
