"""T is a whole second: rows that were committed after it and then hit by the incident are in no copy, and are told."""

from __future__ import annotations

import pytest

from tests.kinds.harness import IN_PART, RECOVERED, World

pytestmark = pytest.mark.kinds

WARDS = (
    "create table patients (id int primary key, ward text not null, balance int not null)",
    "create table trail (id serial primary key, what text not null)",
    "insert into patients select g, 'W' || g % 3, g from generate_series(1, 40) g",
)


def test_a_row_committed_between_t_and_the_update_is_told(world: World) -> None:
    """20 rows go back to what they held; row 42 was there only after T, was hit as well, and stays as it is."""
    world.past(*WARDS)
    world.good("insert into patients values (42, 'W9', 900), (43, 'W9', 901)")
    xid = world.incident(
        "update patients set ward = 'X', balance = 0 where id % 2 = 0",
        "insert into trail (what) values ('the incident was here')",
    )
    ran = world.restore("--mode", "repair", "--incident-xid", str(xid), code=IN_PART)
    rows = [*world.held["public.patients"], (42, "X", 0), (43, "W9", 901)]
    world.holds("public.patients", rows)
    told = [line for line in ran.err.splitlines() if line.startswith("  values lost    public.patients: 1 row that T")]
    assert told == [
        "  values lost    public.patients: 1 row that T does not have carry the incident's transaction (keys: 42):"
        " written between T and the incident and then changed by it, or inserted by it; what they held in between is"
        " in no copy"
    ], ran.err
    assert f"help: see the rows that T does not have: rowback diff {world.case} --show new" in ran.err
    shown = world.cli("diff", world.case, "--show", "new")
    assert "public.patients id=42: new, keep" in shown.out
    assert "trail" not in "".join(told), "a table in which it only inserted lost nothing"


def test_a_trail_that_the_incident_wrote_is_no_loss(world: World) -> None:
    world.past(*WARDS)
    xid = world.incident(
        "update patients set ward = 'X' where id < 9", "insert into trail (what) values ('the incident was here')"
    )
    world.restore("--mode", "repair", "--incident-xid", str(xid), code=RECOVERED)
    world.as_before("public.patients")


def test_what_a_partial_repair_left_is_not_called_unlost_later(world: World) -> None:
    """5 rows were changed by the incident and then by others. Merging is offered before anything is written; after a
    repair without it, another case names the rows that the first one left."""
    world.past(*WARDS)
    xid = world.incident("update patients set ward = 'X', balance = 0 where id <= 10")
    world.good("update patients set balance = balance + 7 where id <= 5")
    asked = ("--mode", "repair", "--incident-xid", str(xid), "--table", "public.patients")
    opened = world.cli("open", *world.at(*asked))
    first = opened.out.strip()
    offered = world.cli("diff", first).err
    assert (
        "5 rows changed by the incident and by others: kept as they are, unless they are merged column by column before"
        f" anything is written: rowback diff {first} --on-conflict merge\n"
    ) in offered
    digest = world.cli("diff", first, "--digest").out.strip()
    assert world.cli("apply", first, digest, "--confirm", world.database.name).code == IN_PART
    assert world.cli("close", first).code == 0
    again = world.restore(*asked, "--on-conflict", "merge", code=41)
    assert "nothing was lost in these tables since T" not in again.err
    assert (
        f"case {first} repaired these tables and left 5 rows that the incident and others changed, which count as newer"
        f" now; both versions of each: rowback diff {first} --show conflict"
    ) in again.err
    shown = world.cli("diff", first, "--show", "conflict", "--limit", "2")
    assert shown.out.count("conflict, keep") == 2
    assert "and 3 rows more: without --limit all are listed" in shown.err


def test_rows_that_are_deleted_anyway_lose_no_values(world: World) -> None:
    """Mode replace puts all back to T: the newer row goes because that was asked for, and confirmed."""
    world.past(*WARDS)
    world.good("insert into patients values (42, 'W9', 900)")
    xid = world.incident("update patients set ward = 'X', balance = 0 where id % 2 = 0")
    ran = world.restore(
        "--mode", "replace", "--incident-xid", str(xid), "--table", "public.patients", "--confirm-loss", "1"
    )
    world.as_before("public.patients")
    assert "values lost" not in ran.out + ran.err
