-- setup
create table t (id int primary key, a int, b int, total int generated always as (a + b) stored);
insert into t select g, g, g * 2 from generate_series(1, 150) g;
create index t_total on t (total);
create view sums as select sum(total) from t;
-- incident
alter table t drop column total cascade;
alter table t drop column b;
-- tables: t
