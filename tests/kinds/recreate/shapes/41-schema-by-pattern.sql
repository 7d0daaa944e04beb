-- setup
create schema app;
create table app.t (id int primary key);
insert into app.t select generate_series(1, 5);
create function app.g() returns int language sql as 'select 1';
create aggregate app.agg (int) (sfunc = int4pl, stype = int, initcond = '0');
-- incident
drop schema app cascade;
-- tables: app.*
