-- setup
create table t (a int primary key) partition by range (a);
create table t1 partition of t for values from (0) to (100);
insert into t select generate_series(1, 9);
create table child (a int references t);
insert into child values (3);
-- incident
drop table t cascade;
