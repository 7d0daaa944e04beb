-- setup
create table t (id int primary key, gone text, a text);
insert into t values (1, 'x', 'y');
alter table t drop column gone;
alter table t add column late int default 5;
insert into t values (2, 'z', 6);
-- incident
drop table t;
