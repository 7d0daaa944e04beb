"""Rows that others changed or held between the comparison and the load: the printed command asks for the same again.

The first version named the table alone: in mode replace that set back what --where had kept out.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable

import pytest

from tests.fix_cli import Ran
from tests.helps.place import commands_of
from tests.kinds.harness import IN_PART, NOTHING, RECOVERED, World

pytestmark = pytest.mark.kinds

LOAD_REFUSED = 54
PAST = (
    'create table "Weird Name; --" ("t" int primary key, space int, body text)',
    "insert into \"Weird Name; --\" select g, g % 3, 'body ' || g from generate_series(1, 30) g",
)
NAMED = ("--table", 'public."Weird Name; --"')
TABLE = NAMED[1]


def opened(world: World, *options: str) -> tuple[str, str]:
    """A case that has compared, and the digest of its repair plan."""
    case = world.cli("open", *world.at(*options)).out.strip()
    return case, world.cli("diff", case, "--digest").out.strip()


def apply(world: World, case: str, digest: str, *extra: str) -> Ran:
    return world.run("apply", case, digest, "--confirm", world.database.name, *extra)


def follow(world: World, ran: Ran) -> Ran:
    """Both printed commands, close and restore, as they are; the second one may ask how many rows are lost."""
    (line,) = [text for text in ran.err.splitlines() if "compare again, as before: " in text]
    close, _, again = line.partition("compare again, as before: ")[2].partition(", then ")
    assert world.run(*shlex.split(close)[1:]).code == 0, world.ran.err
    return world.run(*shlex.split(again)[1:])


def approve(world: World, ran: Ran, rows: int) -> Ran:
    (command,) = (text for text in commands_of(ran) if f"--confirm-loss {rows}" in text)
    return world.run(*shlex.split(command))


def changed(world: World) -> None:
    world.good("update \"Weird Name; --\" set body = 'meanwhile' where t = 3")


def test_the_same_rows_are_asked_for_and_no_others(world: World) -> None:
    """Mode replace with --where: what the condition does not fit stays, whoever wrote it."""
    world.past(*PAST)
    world.good("update \"Weird Name; --\" set body = 'bad' where t in (3, 6)")
    world.good("update \"Weird Name; --\" set body = 'good' where space = 1", "create table other (id int primary key)")
    case, digest = opened(world, "--mode", "replace", *NAMED, "--where", "space = 0 and body <> 'it''s'")
    changed(world)
    ran = apply(world, case, digest, "--confirm-loss", "2")
    assert ran.code == IN_PART, ran.err
    assert "1 row  blocked: changed by others since it was read" in ran.err
    counted = follow(world, ran)
    assert counted.code != RECOVERED
    assert approve(world, counted, 1).code == RECOVERED, world.ran.err
    good = [(t, space, "good" if space == 1 else body) for t, space, body in world.held[TABLE]]
    world.holds(TABLE, good)


def test_a_row_that_a_session_held_is_deleted_the_next_time(world: World) -> None:
    world.past(*PAST, 'create table c (id int primary key, t int references "Weird Name; --")')
    world.good("insert into \"Weird Name; --\" values (50, 0, 'new'), (51, 1, 'new')")
    case, digest = opened(world, "--mode", "replace", *NAMED)
    with world.database.connect() as other, other.transaction(force_rollback=True):
        other.execute("insert into c values (1, 50)")
        ran = apply(world, case, digest, "--confirm-loss", "2")
    assert ran.code == IN_PART, ran.err
    assert "not deleted: another session holds it, and may be referencing it (keys: 50)" in ran.err
    assert approve(world, follow(world, ran), 1).code == RECOVERED, world.ran.err
    world.as_before(TABLE)


def test_in_mode_repair_what_others_changed_meanwhile_is_shown(world: World) -> None:
    """The incident's rows are set back, so nothing tells later what it wrote: the same request would find nothing."""
    world.past(*PAST)
    xid = world.incident("update \"Weird Name; --\" set body = 'bad' where t < 7")
    asked = ("--mode", "repair", "--incident-xid", str(xid), *NAMED)
    case, digest = opened(world, *asked)
    changed(world)
    ran = apply(world, case, digest)
    assert ran.code == IN_PART, ran.err
    assert "compare again" not in ran.err
    world.holds(TABLE, [*world.without(TABLE, 3), (3, 0, "meanwhile")])
    assert f"help: see each row and why: rowback diff {case} --show blocked" in ran.err
    shown = world.cli("diff", case, "--show", "blocked").out
    assert world.cli("close", case).code == 0
    again = world.restore(*asked, code=NOTHING)
    assert (
        f"case {case} repaired these tables and left 1 row that the incident and others changed, which count as newer"
        f" now; what each was at T: rowback diff {case} --show blocked"
    ) in again.err
    first, at_target = shown.splitlines()[:2]
    assert first == 'public."Weird Name; --" t=3: blocked, keep (changed by others since it was read)'
    assert at_target.split() == ["at", "T", "body=body", "3"]


def test_the_incident_is_named_again_for_a_row_that_a_session_held(world: World) -> None:
    """Mode repair, and a key that others reference."""
    world.past(
        "create table p (id int primary key, code int unique)",
        "create table c (id int primary key, code int references p (code))",
        "insert into p select g, g from generate_series(1, 9) g",
        "insert into c values (9, 9)",
    )
    xid = world.incident("update p set code = code + 100 where id < 3")
    case, digest = opened(world, "--mode", "repair", "--incident-xid", str(xid), "--on-conflict", "take-t")
    with world.database.connect() as other, other.transaction(force_rollback=True):
        other.execute("insert into c values (1, 101)")
        ran = apply(world, case, digest)
    assert ran.code == IN_PART, ran.err
    world.holds("public.p", [*world.without("public.p", 1), (1, 101)])
    assert f"--mode repair --incident-xid {xid} --on-conflict take-t --confirm" in ran.err
    assert follow(world, ran).code == RECOVERED, world.ran.err
    world.as_before("public.p", "public.c")


@pytest.mark.parametrize("meanwhile", [changed])
def test_with_all_or_nothing_the_case_compares_again(world: World, meanwhile: Callable[[World], None]) -> None:
    """Nothing was written, so the same case goes on."""
    world.past(*PAST)
    world.good("update \"Weird Name; --\" set body = 'bad' where t in (3, 6)")
    case, digest = opened(world, "--mode", "replace", "--all-or-nothing", *NAMED)
    meanwhile(world)
    left = world.rows(TABLE)
    ran = apply(world, case, digest, "--confirm-loss", "2")
    assert ran.code == LOAD_REFUSED
    world.holds(TABLE, left)
    (again,) = (text for text in commands_of(ran) if "--again" in text)
    assert world.run(*shlex.split(again)).code == RECOVERED, world.ran.err
    digest = world.cli("diff", case, "--digest").out.strip()
    assert apply(world, case, digest, "--confirm-loss", "2").code == RECOVERED, world.ran.err
    world.as_before(TABLE)
