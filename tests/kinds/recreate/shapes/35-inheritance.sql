-- setup
create table base (id int, a text);
create table t (b int) inherits (base);
insert into base values (1, 'x');
insert into t values (2, 'y', 3);
-- incident
drop table base cascade;
