-- setup
create table t (id int primary key, a text, n numeric);
insert into t select g, 'a' || g, g * 1.10 from generate_series(1, 40) g;
create function newest(t) returns int language sql as 'select $1.id';
create function all_of() returns setof t language sql as 'select * from t';
create view v as select newest(t.*) from t;
-- incident
drop table t cascade;
