-- setup
create table t (id int primary key, a text, n numeric);
insert into t select g, 'a' || g, g * 1.10 from generate_series(1, 40) g;
alter table t replica identity full;
create publication p for table t (id, a) where (id > 5);
-- incident
drop table t;
