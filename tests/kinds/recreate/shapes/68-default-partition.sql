-- setup
create table t (a int, b text) partition by list (a);
create table t1 partition of t for values in (1);
create table td partition of t default;
insert into t values (1, 'x'), (7, 'y');
-- incident
drop table td;
