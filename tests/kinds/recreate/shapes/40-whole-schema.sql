-- setup
create schema app;
create type app.kind as enum ('a', 'b');
create function app.f(app.kind) returns text language sql as 'select $1::text';
create table app.t (id int primary key, k app.kind);
insert into app.t values (1, 'a'), (2, 'b');
create view app.v as select app.f(k) from app.t;
create table public.outside (id int primary key, t int references app.t);
insert into public.outside values (1, 2);
create view public.seen as select * from app.v;
grant usage on schema app to public;
comment on schema app is 'ours';
alter default privileges in schema app grant select on tables to public;
-- incident
drop schema app cascade;
