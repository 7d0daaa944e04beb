"""Databases of a test run."""

from __future__ import annotations

SCHEMA = """
create table author (id serial primary key, name text not null, best int);
create table book (id serial primary key, author int not null references author, title text);
alter table author add foreign key (best) references book deferrable initially deferred;
create table "Weird Name; --" ("t" int generated always as identity, doubled int generated always as ("t" * 2) stored);
create table kind (id int primary key, name text);
insert into kind values (1, 'novel'), (2, E'two\\nlines\\tand a tab'), (3, null);
create table log (at timestamptz default now(), what text);
create function logged() returns trigger language plpgsql as $$ begin insert into log (what) values (tg_op); return null; end $$;
create trigger logged after insert or delete on book for each row execute function logged();
create materialized view titles as select title from book;
create schema other; create table other.thing (n int);
create table parted (n int) partition by range (n); create table parted_a partition of parted for values from (0) to (9);
"""  # noqa: E501
