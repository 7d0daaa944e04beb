-- setup
create extension if not exists citext;
create table t (id serial primary key, a text, c citext);
insert into t (a, c) select 'a' || g, 'c' || g from generate_series(1, 120) g;
create function f() returns int language sql as 'select count(*)::int from public.t';
create type mood as enum ('sad', 'ok');
create table of_mood (m mood default 'ok', unique (m));
create schema other;
create view other.v as select * from public.t;
grant create on schema public to pg_monitor;
revoke usage on schema public from public;
comment on schema public is 'ours';
-- incident
drop schema public cascade;
