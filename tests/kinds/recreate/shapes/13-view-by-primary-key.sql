-- setup
create table t (id int primary key, a text, n numeric);
insert into t select g, 'a' || g, g * 1.10 from generate_series(1, 40) g;
create view v as select id, a, n, count(*) as c from t group by id;
-- incident
drop table t cascade;
