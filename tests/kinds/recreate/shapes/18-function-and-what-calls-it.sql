-- setup
create function twice(int) returns int language sql immutable as 'select $1 * 2';
create table t (id int primary key, d int default twice(4) check (twice(id) > 0));
create index on t (twice(d));
insert into t (id) values (1), (2);
-- incident
drop table t;
drop function twice(int);
