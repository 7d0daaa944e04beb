-- setup
create table t (id int primary key, a text, n numeric);
insert into t select g, 'a' || g, g * 1.10 from generate_series(1, 40) g;
create view a1 as select * from t;
create view a2 as select * from a1;
create view a3 as select a2.id from a2 join t using (id);
create materialized view a4 as select count(*) from a3;
-- incident
drop table t cascade;
