-- setup
create table t (id int primary key);
insert into t values (1);
create function f() returns int language sql as 'select 1';
create type k as enum ('x');
-- incident
drop table t;
drop function f;
drop type k;
