-- setup
create table t (id int primary key, a int, unique nulls not distinct (a));
insert into t values (1, null), (2, 2);
-- incident
drop table t;
