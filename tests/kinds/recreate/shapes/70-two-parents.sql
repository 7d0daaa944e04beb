-- setup
create table a (x int);
create table b (y int);
create table t (z int) inherits (a, b);
insert into t values (1, 2, 3);
insert into a values (9);
-- incident
drop table t;
