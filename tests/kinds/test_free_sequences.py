"""Sequences that belong to no column were restarted too: they go on after T, or are told."""

from __future__ import annotations

import pytest

from tests.kinds.harness import IN_PART, RECOVERED, World

pytestmark = pytest.mark.kinds

PRINTER = """
create sequence form_no;
create table forms (id bigint generated always as identity primary key, no bigint not null unique, v text not null);
create function number_form() returns trigger language plpgsql as $$ begin
  if new.no is null then new.no := nextval('public.form_no'); end if;
  return new;
end $$;
create trigger number_form before insert on forms for each row execute function number_form();
insert into forms (v) select 'form ' || g from generate_series(1, 42) g;
create sequence stamp_no;
create table stamps (id bigint primary key default nextval('public.stamp_no'::text::regclass), v text not null);
insert into stamps (v) select 'stamp ' || g from generate_series(1, 37) g;
"""
NEXT = {
    "form_no": "insert into forms (v) values ('next') returning no",
    "stamp_no": "insert into stamps (v) values ('next') returning id",
}


def test_the_next_number_is_a_new_one(world: World) -> None:
    """42 forms and 37 stamps are back; what numbers them stands behind the last number, or the setval is told."""
    world.past(PRINTER)
    world.incident(
        "truncate forms, stamps restart identity", "alter sequence form_no restart", "alter sequence stamp_no restart"
    )
    world.restore(code=(RECOVERED, IN_PART))
    world.as_before("public.forms", "public.stamps")
    world.counts("public.forms", back=42)
    world.counts("public.stamps", back=37)
    for sequence, last in (("form_no", 42), ("stamp_no", 37)):
        ((stands, called),) = world.look(f"select last_value, is_called from public.{sequence}")
        if stands >= last and called:
            assert world.database.rows(NEXT[sequence])[0][0] > last
        else:
            assert (stands, called) == (1, False)
            world.said(sequence, str(last), "setval")


def test_a_sequence_that_went_on_is_not_turned_back(world: World) -> None:
    """Others took numbers beyond those of T meanwhile: the sequence stays where it is."""
    world.past(PRINTER)
    world.incident("truncate stamps")
    world.good("select setval('stamp_no', 400)")
    world.restore()
    world.as_before("public.forms", "public.stamps")
    assert world.look("select last_value, is_called from public.stamp_no") == [(400, True)]
