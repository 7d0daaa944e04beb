"""A trigger on the children keeps a counter in the parent: the incident changed both tables."""

from __future__ import annotations

import pytest

from tests.kinds.harness import IN_PART, Row, World

pytestmark = pytest.mark.kinds

FORUM = """
create table threads (id int generated always as identity primary key, title text not null,
  posts int not null default 0);
create table posts (id int generated always as identity primary key,
  thread_id int not null references threads on delete cascade, body text not null);
create function count_posts() returns trigger language plpgsql as $$ begin
  if tg_op = 'INSERT' then update threads set posts = threads.posts + 1 where id = new.thread_id;
  else update threads set posts = threads.posts - 1 where id = old.thread_id; end if;
  return null;
end $$;
create trigger count_posts after insert or delete on posts for each row execute function count_posts();
insert into threads (title) select 'thread ' || g from generate_series(1, 10) g;
insert into posts (thread_id, body) select 1 + g % 10, 'post ' || g from generate_series(1, 90) g;
"""
MISTAKE = "delete from posts where id % 2 = 0"
LATER = "insert into posts (thread_id, body) values (3, 'later')"


def counters(rows: list[Row]) -> dict[int, int]:
    return {number: posts for number, _, posts in rows}


def test_the_table_with_the_counters_is_out_of_scope(world: World) -> None:
    """45 posts are back; the counters stay, and it is told that X changed them too and which --table brings them in."""
    world.past(FORUM)
    incident = world.incident(MISTAKE)
    world.good(LATER)
    threads = world.rows("public.threads")
    assert counters(threads) == {n: 9 if n % 2 == 0 else int(n == 3) for n in range(1, 11)}
    ran = world.restore("--mode", "repair", "--table", "public.posts", "--incident-xid", str(incident), code=IN_PART)
    world.holds("public.posts", [*world.held["public.posts"], (91, 3, "later")])
    world.holds("public.threads", threads)
    world.told("public.threads", 4)
    assert str(incident) in ran.out
    assert "--table public.threads" in ran.out + ran.err
    for untrue in ("hold what they held at T", "was rewritten by others"):
        assert untrue not in ran.out + ran.err
    world.counts("public.posts", back=45)


def test_the_whole_database_brings_posts_and_counters(world: World) -> None:
    """The trigger does not count twice; thread 3, changed since, is told as a row to decide."""
    world.past(FORUM)
    incident = world.incident(MISTAKE)
    world.good(LATER)
    world.restore("--mode", "repair", "--incident-xid", str(incident), code=IN_PART)
    world.holds("public.posts", [*world.held["public.posts"], (91, 3, "later")])
    world.holds("public.threads", [*world.without("public.threads", 3), (3, "thread 3", 1)])
    world.told("public.threads", 1)
    world.counts("public.threads", back=4, lost=1)
    assert world.account()["public.threads"]["conflict"] == 1
