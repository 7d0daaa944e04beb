"""A dropped column: no row is gone, its values are; good writers are not taken for the incident."""

from __future__ import annotations

import shlex

import pytest

from tests.kinds.harness import IN_PART, NOTHING, Row, World

pytestmark = pytest.mark.kinds

CLUB = """
create table guests (id int primary key, mail text not null, motto text);
insert into guests
  select g, 'g' || g || '@example.org', case when g % 4 = 0 then null else 'motto ' || g end
  from generate_series(1, 52) g;
"""
MOTTOS = 39


def drop_it(world: World) -> list[Row]:
    """The column goes, and 6 people change their address; returns the rows of today."""
    world.past(CLUB)
    assert sum(1 for row in world.held["public.guests"] if row[2]) == MOTTOS
    world.incident("alter table guests drop column motto")
    world.good("update guests set mail = 'new' || id || '@example.org' where id <= 6")
    rows = [(n, f"{'new' if n <= 6 else 'g'}{n}@example.org") for n in range(1, 53)]
    world.holds("public.guests", rows)
    return rows


@pytest.mark.parametrize("mode", ["missing", "repair"])
def test_the_modes_that_write_into_the_table_tell_the_column(world: World, mode: str) -> None:
    """Nothing is written; the column, its 39 values and mode recreate are named, and no transaction to revert."""
    rows = drop_it(world)
    ran = world.restore("--mode", mode, "--table", "public.guests", code=NOTHING)
    world.holds("public.guests", rows)
    told = [line for line in ran.err.splitlines() if "column motto was dropped since T" in line]
    assert any(str(MOTTOS) in line for line in told), ran.err
    assert any("--mode recreate --table public.guests" in line for line in ran.err.splitlines()), ran.err
    assert "--incident-xid" not in ran.out + ran.err


def test_beside_brings_the_values(world: World) -> None:
    """52 rows with 39 mottos stand in a schema of their own, and the table of today is left alone."""
    rows = drop_it(world)
    world.restore("--mode", "beside", "--table", "public.guests")
    assert "is back as of" not in world.ran.out
    schema = "recovered_" + world.case.replace("-", "_")
    world.holds(f"{schema}.guests", world.held["public.guests"])
    world.holds("public.guests", rows)


@pytest.mark.parametrize("gone", ["delete from guests where id <= 9", "delete from guests"])
def test_rows_come_back_and_the_column_is_told_as_lost(world: World, gone: str) -> None:
    """A migration dropped the column, and then rows went: they are back without it, which is a part and no more."""
    world.past(CLUB)
    world.good("alter table guests drop column motto")
    world.incident(gone)
    ran = world.restore("--table", "public.guests", code=IN_PART)
    world.holds("public.guests", [row[:2] for row in world.held["public.guests"]])
    lost = f"public.guests: column motto was dropped since T: its {MOTTOS} values are not back"
    assert f"values lost    {lost}" in ran.err, ran.err
    assert ", and values stay lost" in ran.err
    helps = [
        line
        for line in ran.err.splitlines()
        if "bring the dropped columns back with their values: rowback close" in line
    ]
    assert len(helps) == 1, ran.err
    assert "--mode recreate --table public.guests" in helps[0]


def test_a_migration_that_emptied_one_column_and_dropped_another(world: World) -> None:
    world.past(CLUB)
    xid = world.incident("update guests set mail = ''", "alter table guests drop column motto")
    world.restore("--mode", "repair", "--incident-xid", str(xid), "--table", "public.guests", code=IN_PART)
    world.holds("public.guests", [row[:2] for row in world.held["public.guests"]])


def test_the_printed_command_names_a_table_whatever_its_name(world: World) -> None:
    """Its name reads like a line about another table; followed as printed, the values are back."""
    name = '"guests: column ""t"" of; --"'
    world.past(
        f'create table {name} (id int primary key, "t" text)',
        f"insert into {name} select g, 'v' || g from generate_series(1, 12) g",
    )
    world.good(f'alter table {name} drop column "t"')
    world.incident(f"delete from {name} where id <= 4")
    ran = world.restore(code=IN_PART)
    held = world.held[f"public.{name}"]
    world.holds(f"public.{name}", [(row[0],) for row in held])
    words = "bring the dropped columns back with their values: rowback "
    (close, again) = (
        next(line for line in ran.err.splitlines() if words in line).split(words)[1].split(", then rowback ")
    )
    assert world.run(*shlex.split(close)).code == 0
    assert world.run(*shlex.split(again)).code == 0, world.ran.err
    world.holds(f"public.{name}", held)


VISITS = (
    CLUB + "create table visits (id int primary key, guest_id int not null references guests);"
    "insert into visits select g, g from generate_series(1, 20) g;"
)


@pytest.mark.parametrize(("tables", "code"), [(("visits", "guests"), IN_PART), (("visits",), 0)])
def test_values_count_where_the_table_was_asked_for(world: World, tables: tuple[str, ...], code: int) -> None:
    """No row of guests is gone, but its mottos are. Named beside visits, that is a part of what was asked for; as the
    parent of visits alone it is told, and no more."""
    world.past(VISITS)
    world.good("alter table guests drop column motto")
    world.incident("delete from visits where id <= 5")
    named = [word for name in tables for word in ("--table", f"public.{name}")]
    ran = world.restore(*named, code=code)
    world.as_before("public.visits")
    assert ("values lost    public.guests: column motto was dropped since T" in ran.err) is (code == IN_PART), ran.err
