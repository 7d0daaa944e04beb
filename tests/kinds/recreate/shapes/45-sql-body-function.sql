-- setup
create table t (id int primary key, a text, n numeric);
insert into t select g, 'a' || g, g * 1.10 from generate_series(1, 40) g;
create function newest() returns int begin atomic select max(id) from t; end;
create view v as select newest();
-- incident
drop table t cascade;
