-- setup
create table t (id int, a int, constraint u unique (a) deferrable initially deferred, constraint k primary key (id) include (a));
insert into t values (1, 1), (2, null), (3, null);
-- incident
drop table t;
