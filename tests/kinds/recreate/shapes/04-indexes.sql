-- setup
create table t (id int primary key, a text, n numeric);
insert into t select g, 'a' || g, g * 1.10 from generate_series(1, 40) g;
create index on t (a);
create unique index u on t (n desc nulls last) where n > 3;
create index e on t (lower(a), (n * 2)) include (id);
create index h on t using hash (a);
-- incident
drop table t;
