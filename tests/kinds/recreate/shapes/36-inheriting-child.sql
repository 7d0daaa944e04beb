-- setup
create table base (id int, a text);
insert into base values (1, 'x');
create table t (b int, check (b > 0)) inherits (base);
insert into t values (2, 'y', 3);
-- incident
drop table t;
