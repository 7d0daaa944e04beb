-- setup
create table t (id int primary key, a text, n numeric);
insert into t select g, 'a' || g, g * 1.10 from generate_series(1, 40) g;
create index by_a on t (a);
comment on index by_a is 'x';
-- incident
drop index by_a;
-- tables: t
