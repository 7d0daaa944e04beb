-- setup
create table t (id int primary key, a text, n numeric);
insert into t select g, 'a' || g, g * 1.10 from generate_series(1, 40) g;
comment on table t is 'all of it';
comment on column t.a is E'line\nand \\.';
comment on constraint t_pkey on t is 'key';
create index i on t (a);
comment on index i is 'fast';
-- incident
drop table t;
