-- setup
create table t (id int primary key, a text, n numeric);
insert into t select g, 'a' || g, g * 1.10 from generate_series(1, 40) g;
create statistics s on (n * 2), lower(a) from t;
-- incident
drop table t;
