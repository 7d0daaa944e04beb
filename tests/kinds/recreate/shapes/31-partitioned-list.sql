-- setup
create table t (a int, b text, primary key (a, b)) partition by list (a);
create table t1 partition of t for values in (1);
create table t2 partition of t for values in (2, 3);
create table td partition of t default;
create index on t (b);
insert into t select g % 5, 'b' || g from generate_series(1, 50) g;
-- incident
drop table t;
