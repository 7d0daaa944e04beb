-- setup
create table t (id int primary key, up int references t);
insert into t select g, nullif(g / 2, 0) from generate_series(1, 30) g;
-- incident
drop table t;
