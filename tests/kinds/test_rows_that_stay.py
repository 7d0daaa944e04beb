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
    (way_on,) = [text for text in ran.err.splitlines() if "may become what it was at T as well: " in text]
    close, _, again = way_on.partition("may become what it was at T as well: ")[2].partition(", then ")
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


def test_all_tables_that_reference_such_rows_are_in_one_command(world: World) -> None:
    """One row is referenced from two tables, another from a third; a quoted name holds a comma."""
    world.past(
        "create table p (id int primary key)",
        'create table "a, b" (p int references p)',
        "create table c (p int references p)",
        "create table d (p int references p)",
        "insert into p values (1), (2)",
    )
    world.good(
        "insert into p values (7), (8)",
        'insert into "a, b" values (7)',
        "insert into c values (7)",
        "insert into d values (8)",
    )
    world.good("delete from p where id = 2")
    ran = world.restore("--mode", "replace", "--table", "public.p", "--confirm-loss", "0", code=(IN_PART, 21))
    (way_on,) = [text for text in ran.err.splitlines() if "may become what it was at T as well: " in text]
    assert """if public."a, b", public.c, public.d may become what it was at T as well: """ in way_on
    close, _, again = way_on.partition("may become what it was at T as well: ")[2].partition(", then ")
    assert world.run(*shlex.split(close)[1:]).code == 0
    counted = world.run(*shlex.split(again)[1:])
    (approve,) = (command for command in commands_of(counted) if "--confirm-loss 5" in command)
    assert world.run(*shlex.split(approve)).code == RECOVERED, world.ran.err
    world.as_before("public.p", 'public."a, b"', "public.c", "public.d")


@pytest.mark.parametrize(
    ("table", "rows"),
    [
        ("create table l (a int unique, b text)", "(1, 'x'), (2, 'y'), (null, 'n')"),
        ("create table l (a int, b text, exclude using btree (a with =))", "(1, 'x'), (2, 'y'), (null, 'n')"),
        ("create table l (a int, b text); create unique index on l ((a + 1))", "(1, 'x'), (2, 'y'), (null, 'n')"),
    ],
)
def test_rows_without_a_key_change_places_under_a_unique_rule(world: World, table: str, rows: str) -> None:
    """What leaves sets the values free that come back."""
    world.past(*table.split("; "), f"insert into l values {rows}")
    world.good("update l set b = 'q' where a in (1, 2)", "insert into l values (9, 'new')")
    world.restore("--mode", "replace", "--table", "public.l", "--confirm-loss", "3")
    world.as_before("public.l")


def test_with_all_or_nothing_a_row_that_the_server_refuses_ends_it_once(world: World) -> None:
    """It was compared and tried again without end."""
    world.past(
        "create table t (n int primary key, body text)", "insert into t select g, 'x' from generate_series(1, 20) g"
    )
    world.good("delete from t where n > 10")
    world.database.run("vacuum t", "create index on t ((100 / (n - 15)))")
    left = world.rows("public.t")
    ran = world.restore("--table", "public.t", "--all-or-nothing", code=LOAD_REFUSED)
    assert ran.err.count("error[load-refused]: ") == 1
    assert "division by zero" in ran.err
    world.holds("public.t", left)
