"""Mode replace, and rows that T does not have and that cannot be deleted: recovered in part, never "as of T".

The first version said "is back as of T", ended with 0 and removed the copy.
"""

from __future__ import annotations

import json
import shlex

import pytest

from tests.helps.place import commands_of
from tests.kinds.harness import IN_PART, NOTHING, RECOVERED, World, headline

pytestmark = pytest.mark.kinds

PAST = """
create table authors (id int primary key, name text not null);
create table "Weird Name; --" ("t" int primary key, author int references authors);
insert into authors select g, 'author ' || g from generate_series(1, 10) g;
insert into "Weird Name; --" select g, g from generate_series(1, 10) g;
"""
NEWCOMER = ("insert into authors values (50, 'new')", """insert into "Weird Name; --" values (50, 50)""")
AUTHORS = ("--mode", "replace", "--table", "public.authors")
REFERENCED = 'it is still referenced from public."Weird Name; --"'
LOAD_REFUSED = 54


@pytest.fixture
def kept(world: World) -> World:
    """Three authors were spoiled; a newcomer has a row on it outside the scope."""
    world.past(PAST)
    world.incident("update authors set name = 'oops' where id < 4")
    world.good(*NEWCOMER)
    return world


def test_a_row_that_others_reference_is_named_and_the_way_on_deletes_it(kept: World) -> None:
    ran = kept.restore(*AUTHORS, "--confirm-loss", "3", code=IN_PART)
    kept.holds("public.authors", [*kept.held["public.authors"], (50, "new")])
    assert "is recovered in part as of" in headline(ran)
    assert "3 rows back, 0 not, 1 not deleted" in headline(ran)
    line = f"public.authors  1 row  not deleted: {REFERENCED} (keys: 50)"
    assert f"  {line}" in ran.err.splitlines()
    assert line in kept.cli("status", kept.case).out
    assert kept.account()["public.authors"]["not_deleted"] == [{"reason": REFERENCED, "rows": 1, "keys": ["50"]}]
    (listed,) = json.loads(kept.cli("diff", kept.case, "--show", "blocked", "--json").out)
    assert (listed["key"], listed["reason"]) == ({"id": "50"}, REFERENCED)
    (way_on,) = [text for text in ran.err.splitlines() if "may go as well: " in text]
    close, _, again = way_on.partition("may go as well: ")[2].partition(", then ")
    assert kept.run(*shlex.split(close)[1:]).code == 0
    counted = kept.run(*shlex.split(again)[1:])
    assert counted.code != RECOVERED
    assert "--confirm-loss 2" in counted.err, counted.err
    (approve,) = (command for command in commands_of(counted) if "--confirm-loss 2" in command)
    assert kept.run(*shlex.split(approve)).code == RECOVERED, kept.ran.err
    kept.as_before("public.authors", 'public."Weird Name; --"')


def test_to_accept_the_part_is_to_say_so(kept: World) -> None:
    ran = kept.run(*kept.arguments(*AUTHORS, "--confirm-loss", "3", "--accept-partial"))
    assert ran.code == RECOVERED
    assert "1 not deleted" in headline(ran)
    assert "not deleted, though T does not have them:" in ran.out
    assert REFERENCED in ran.out


def test_all_or_nothing_writes_nothing(kept: World) -> None:
    spoiled = kept.rows("public.authors")
    ran = kept.restore(*AUTHORS, "--confirm-loss", "3", "--all-or-nothing", code=LOAD_REFUSED)
    assert "1 row cannot be deleted, and --all-or-nothing was asked for" in ran.err
    kept.holds("public.authors", spoiled)


def test_nothing_but_a_row_that_stays_is_no_success(world: World) -> None:
    world.past(PAST)
    world.good(*NEWCOMER)
    ran = world.restore(*AUTHORS, code=NOTHING)
    assert f"public.authors: 1 row not deleted: {REFERENCED}" in ran.err


def test_a_table_that_was_empty_at_t_counts_what_stays(world: World) -> None:
    world.past("create table t (id int primary key)", "create table c (id int references t)")
    world.good("insert into t values (1), (2)", "insert into c values (2)")
    ran = world.restore("--mode", "replace", "--table", "public.t", "--confirm-loss", "1", code=IN_PART)
    assert "0 rows back, 0 not, 1 not deleted" in headline(ran)
    world.holds("public.t", [(2,)])


def test_batches_cannot_be_all_or_nothing(kept: World) -> None:
    opened = kept.cli("open", *kept.at("--all-or-nothing", "--mode", "replace")).out.strip()
    digest = kept.cli("diff", opened, "--digest").out.strip()
    spoiled = kept.rows("public.authors")
    ran = kept.run(
        "apply", opened, digest, "--max-wal-rate", "1MiB", "--confirm-loss", "3", "--confirm", kept.database.name
    )
    assert ran.code == 2
    words = f"case {opened} was opened with --all-or-nothing, and batches are committed one by one"
    assert words in ran.err
    assert f"help: rowback apply {opened} {digest[:8]}, without --max-wal-rate" in ran.err
    kept.holds("public.authors", spoiled)
