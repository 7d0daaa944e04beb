-- setup
create table t (a int, b text) partition by range (a);
create table low partition of t for values from (minvalue) to (10);
create table high partition of t for values from (10) to (maxvalue);
create index on t (b);
insert into t select g, 'b' || g from generate_series(1, 20) g;
-- incident
drop table high;
