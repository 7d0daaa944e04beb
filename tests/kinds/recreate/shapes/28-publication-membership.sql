-- setup
create table t (id int primary key, a text, n numeric);
insert into t select g, 'a' || g, g * 1.10 from generate_series(1, 40) g;
create table other (id int primary key);
create publication p for table t, other with (publish = 'insert, update');
-- incident
drop table t;
