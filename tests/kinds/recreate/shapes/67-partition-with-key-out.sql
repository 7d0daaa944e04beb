-- setup
create table p (id int primary key);
insert into p values (1), (2);
create table t (a int, p int references p) partition by list (a);
create table t1 partition of t for values in (1);
create table t2 partition of t for values in (2);
insert into t values (1, 1), (2, 2);
-- incident
drop table t2;
