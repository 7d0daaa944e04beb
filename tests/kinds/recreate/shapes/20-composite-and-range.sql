-- setup
create type point3 as (x int, y int, z text);
create type span as range (subtype = numeric);
create table t (id int primary key, p point3, ps point3[], s span);
insert into t values (1, (1, 2, 'a'), array[(1, 2, 'b')::point3], span(1.5, 2.5));
-- incident
drop table t;
drop type point3, span cascade;
