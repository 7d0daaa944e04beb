-- setup
create table t (id int primary key, a text, n numeric);
insert into t select g, 'a' || g, g * 1.10 from generate_series(1, 40) g;
alter table t alter a set storage external;
alter table t alter a set compression pglz;
-- incident
drop table t;
