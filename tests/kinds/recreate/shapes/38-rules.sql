-- setup
create table t (id int primary key, a text, n numeric);
insert into t select g, 'a' || g, g * 1.10 from generate_series(1, 40) g;
create table log (id int);
create rule r as on insert to t do also insert into log values (new.id);
create rule off as on update to t do also nothing;
alter table t disable rule off;
-- incident
drop table t;
