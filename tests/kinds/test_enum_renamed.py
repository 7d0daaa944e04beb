"""A label of an enum was renamed since T: rows come back under its name of today."""

from __future__ import annotations

import pytest

from tests.kinds.harness import Row, World

pytestmark = pytest.mark.kinds

LIBRARY = """
create type copy_state as enum ('ordered', 'shelved', 'lent');
create table copies (id int primary key, state copy_state not null);
insert into copies
  select g, (array['ordered', 'shelved', 'lent'])[1 + g % 3]::copy_state from generate_series(1, 48) g;
create table requests (id int primary key, state copy_state not null);
insert into requests
  select g, (array['ordered', 'shelved', 'lent'])[1 + g % 3]::copy_state from generate_series(1, 36) g;
create table branches (id int primary key, name text not null);
insert into branches select g, 'branch ' || g from generate_series(1, 11) g;
"""


def under_todays_name(rows: list[Row]) -> list[Row]:
    return [(key, "coming" if state == "ordered" else state) for key, state in rows]


def test_rows_with_a_renamed_label(world: World) -> None:
    """Truncated and deleted rows that held 'ordered' at T hold 'coming' now, and the renaming is told."""
    world.past(LIBRARY)
    world.good("alter type copy_state rename value 'ordered' to 'coming'")
    world.incident("truncate copies, branches", "delete from requests where id <= 15")
    world.restore()
    world.holds("public.copies", under_todays_name(world.held["public.copies"]))
    world.holds("public.requests", under_todays_name(world.held["public.requests"]))
    world.as_before("public.branches")
    world.said("copy_state", "ordered", "coming")
    world.counts("public.copies", back=48)
    world.counts("public.requests", back=15)
    world.counts("public.branches", back=11)
