-- setup
create type row_t as (id int, a text);
create table t of row_t (primary key (id));
insert into t values (1, 'x');
-- incident
drop table t;
drop type row_t;
