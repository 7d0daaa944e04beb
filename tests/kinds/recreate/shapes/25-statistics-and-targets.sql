-- setup
create table t (id int primary key, a text, n numeric);
insert into t select g, 'a' || g, g * 1.10 from generate_series(1, 40) g;
create statistics s (ndistinct, dependencies) on a, n from t;
alter table t alter a set statistics 500;
alter table t alter a set (n_distinct = 7);
alter statistics s set statistics 300;
-- incident
drop table t;
