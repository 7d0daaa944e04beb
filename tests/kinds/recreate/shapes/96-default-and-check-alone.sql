-- setup
create table t (id int primary key, a text default 'x', b int, constraint positive check (b > 0));
insert into t select g, 'a' || g, g from generate_series(1, 60) g;
-- incident
alter table t alter column a drop default;
alter table t drop constraint positive;
-- tables: t
