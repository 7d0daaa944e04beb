-- setup
create table t (id int primary key, a text, n numeric);
insert into t select g, 'a' || g, g * 1.10 from generate_series(1, 40) g;
create view v as select a, count(*) from t group by a;
create view w (x) with (security_barrier) as select a from v where a > 'a2';
-- incident
drop table t cascade;
