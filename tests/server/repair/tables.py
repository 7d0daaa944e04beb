"""Tables and statements that several tests of repairs use."""

from __future__ import annotations

from typing import Any

from tests.fix_lab import Database


def text_of(database: Database, table: str) -> list[tuple[Any, ...]]:
    return database.rows(f"select t::text from {table} t order by 1")


FAMILY = """
create table spaces (id int primary key, name text, owner text);
create table articles (id int primary key, space_id int not null references spaces on delete cascade, body text,
                       up int references articles on delete set null);
create table revisions (
  article_id int references articles on delete cascade, no int, body text, primary key (article_id, no)
);
create table notes (
  id int primary key, article_id int, no int, foreign key (article_id, no) references revisions on delete cascade
);
create table elsewhere (id int primary key, body text);
insert into spaces select g, 's' || g, 'o' || g from generate_series(1, 3) g;
insert into articles select g, 1 + g % 3, 'a' || g, case when g > 3 then g - 3 end from generate_series(1, 12) g;
insert into revisions select a, n, 'r' from generate_series(1, 12) a, generate_series(1, 2) n;
insert into notes select a * 10 + n, a, n from generate_series(1, 12) a, generate_series(1, 2) n;
insert into elsewhere values (1, 'x'), (2, 'y');
"""
