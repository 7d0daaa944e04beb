-- setup
create table t (a int, b int) partition by range (a);
create table t1 partition of t for values from (0) to (10) partition by hash (b);
create table t1a partition of t1 for values with (modulus 2, remainder 0);
create table t1b partition of t1 for values with (modulus 2, remainder 1);
insert into t select g % 10, g from generate_series(1, 30) g;
-- incident
drop table t1;
