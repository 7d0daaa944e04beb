-- setup
create table t (id int primary key, a text, n numeric);
insert into t select g, 'a' || g, g * 1.10 from generate_series(1, 40) g;
create unique index c on t (id, n);
alter table t alter n set not null;
alter table t cluster on c;
alter table t replica identity using index c;
-- incident
drop table t;
