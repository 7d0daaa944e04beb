"""The only loss is a dropped table: it is told with its rows and with the command that brings them."""

from __future__ import annotations

import shlex

import pytest

from recovery.model.target import format_utc
from tests.kinds.harness import NOTHING, World, has_rows

pytestmark = pytest.mark.kinds

OFFICE = """
create table desks (id int primary key, floor text not null);
insert into desks select g, 'floor ' || g % 5 from generate_series(1, 22) g;
create table chairs (id int primary key, desk_id int not null references desks, colour text not null);
insert into chairs select g, 1 + g % 22, 'colour ' || g from generate_series(1, 77) g;
"""
TABLE_UNKNOWN = 15


def drop_it(world: World) -> None:
    world.past(OFFICE)
    world.incident("drop table chairs")
    world.good("insert into desks values (23, 'attic')")


def offered(world: World) -> list[str]:
    """The command of the help line that brings the table, as a shell would read it."""
    lines = [line for line in world.ran.err.splitlines() if "help: " in line and "--mode recreate" in line]
    assert len(lines) == 1, world.ran.err
    words = shlex.split(lines[0][lines[0].index("rowback restore ") :])
    for pair in (("--at", format_utc(world.target)), ("--database", world.database.name), ("--table", "public.chairs")):
        assert words[words.index(pair[0]) + 1] == pair[1]
    assert words[2] == world.cli.live.identifier
    return words[1:] if "--confirm" in words else [*words[1:], "--confirm", world.database.name]


def untouched(world: World) -> None:
    world.holds("public.desks", [*world.held["public.desks"], (23, "attic")])
    assert world.look("select to_regclass('public.chairs')::text") == [(None,)]


def test_the_whole_database_has_lost_a_table(world: World) -> None:
    """Not that nothing was lost: the table, its 77 rows, the next command; in diff, status and report as well."""
    drop_it(world)
    ran = world.restore(code=NOTHING)
    untouched(world)
    assert "nothing was lost" not in ran.err
    told = [line for line in ran.err.splitlines() if "public.chairs" in line and "dropped since T" in line]
    assert any(has_rows(line, 77) for line in told), ran.err
    offered(world)
    for command in ("diff", "status", "report"):
        said = world.cli(command, world.case)
        assert "public.chairs" in said.out + said.err, f"{command} says nothing of it"


def test_the_dropped_table_is_asked_for_and_comes_by_the_command_that_is_offered(world: World) -> None:
    """Exit 15 offers mode recreate; as it stands there, it brings the 77 rows and touches nothing else."""
    drop_it(world)
    ran = world.restore("--table", "public.chairs", code=TABLE_UNKNOWN)
    world.no_copy_was_made()
    untouched(world)
    ran = world.run(*offered(world))
    assert ran.code == 0, ran.err
    assert "is back as of" in ran.out
    world.holds("public.chairs", world.held["public.chairs"])
    world.holds("public.desks", [*world.held["public.desks"], (23, "attic")])
