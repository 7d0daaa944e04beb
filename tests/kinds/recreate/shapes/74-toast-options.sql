-- setup
create table t (id int primary key, a text) with (toast.autovacuum_enabled = off, toast_tuple_target = 256);
insert into t values (1, repeat('a', 9000));
-- incident
drop table t;
