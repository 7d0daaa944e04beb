-- setup
create table t (id int primary key, a text, b bytea) with (fillfactor = 70, autovacuum_enabled = off);
insert into t select g, repeat('x', 3000), '\x00ff' from generate_series(1, 5) g;
-- incident
drop table t;
