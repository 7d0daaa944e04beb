-- setup
create table t (id int primary key, j jsonb, r int4range, p point, a int[], x text);
insert into t select g, '{}', int4range(g, g + 2), point(g, g), array[g], 'x' || g from generate_series(1, 20) g;
create index on t using gin (j jsonb_path_ops);
create index on t using gist (r);
create index on t using spgist (p);
create index on t using brin (id) with (pages_per_range = 4);
create index on t using gin (a) with (fastupdate = off);
create index on t (x collate "C" text_pattern_ops desc);
-- incident
drop table t;
