-- setup
create table t (id int, d int, a text, b text default 'b', primary key (id, d)) partition by range (d);
create table t_1 partition of t for values from (0) to (50);
create table t_2 partition of t for values from (50) to (100);
insert into t select g, g % 100, 'a' || g, 'b' || g from generate_series(1, 400) g;
create index on t (b);
-- incident
alter table t drop column b;
-- tables: t
