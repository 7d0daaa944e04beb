-- setup
create table t (id int primary key, a text, n numeric);
insert into t select g, 'a' || g, g * 1.10 from generate_series(1, 40) g;
create materialized view m as select a, sum(n) as s from t group by a;
create unique index on m (a);
create materialized view later as select * from m with no data;
create view over_m as select * from m;
-- incident
drop table t cascade;
