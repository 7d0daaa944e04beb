-- setup
create table t (id int primary key, r int4range, exclude using gist (r with &&));
insert into t select g, int4range(g * 10, g * 10 + 5) from generate_series(1, 9) g;
-- incident
drop table t;
