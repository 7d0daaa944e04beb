-- setup
create schema s;
create sequence s.q;
create type s.e as enum ('a');
create table s.t (id int, a text);
create function s.f() returns int language sql as 'select 1';
grant all on schema s to public;
grant usage on sequence s.q to public;
revoke usage on type s.e from public;
grant select (id), update (a) on s.t to public;
revoke all on function s.f from public;
alter default privileges in schema s grant insert on tables to public;
-- incident
drop schema s cascade;
