"""A CHECK that was added since T as NOT VALID: rows that break it stay away, and that is told."""

from __future__ import annotations

import pytest

from tests.kinds.harness import IN_PART, World, headline

pytestmark = pytest.mark.kinds

PLANTS = """
create table plants (id int primary key, kind text not null, code text);
insert into plants
  select 7000 + g, 'plant ' || g, case when g % 9 = 0 then 'lost tag' else 'AB-' || g end from generate_series(1, 90) g;
create table remarks (id int primary key, body text);
insert into remarks select g, 'remark ' || g from generate_series(1, 16) g;
"""
MIGRATION = "alter table plants add constraint code_form check (code ~ '^[A-Z]+-[0-9]+$') not valid"
MISTAKE = ("delete from plants where id <= 7036", "delete from remarks where id > 9")


def test_rows_that_break_the_new_check_are_told_with_their_keys(world: World) -> None:
    """36 plants deleted, 4 of them break the CHECK of today: 32 come back, the constraint stays as it is."""
    world.past(PLANTS)
    world.good(MIGRATION)
    world.incident(*MISTAKE)
    world.restore(code=IN_PART)
    world.holds("public.plants", world.without("public.plants", 7009, 7018, 7027, 7036))
    world.as_before("public.remarks")
    assert world.look("select convalidated from pg_constraint where conname = 'code_form'") == [(False,)]
    world.told("public.plants", 4, "code_form")
    world.told_keys(7009, 7018, 7027, 7036)
    world.counts("public.plants", back=32, lost=4)
    world.counts("public.remarks", back=7)


def test_a_part_that_is_accepted_ends_the_case_and_is_called_a_part(world: World) -> None:
    """--accept-partial: exit 0, the copy goes, and still nobody says that all is back."""
    world.past(PLANTS)
    world.good(MIGRATION)
    world.incident(*MISTAKE)
    ran = world.run(*world.arguments("--accept-partial"))
    assert ran.code == 0, ran.err
    world.holds("public.plants", world.without("public.plants", 7009, 7018, 7027, 7036))
    assert "is recovered in part" in headline(ran)
    world.told("public.plants", 4, "code_form")
    assert world.report()["copy_removed"] is True
    world.counts("public.plants", back=32, lost=4)
