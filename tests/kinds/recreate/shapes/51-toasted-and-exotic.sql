-- setup
create table t (id int primary key, j jsonb, x xml, ts tsvector, i interval, f float8, b bytea, u uuid, a int[], n numeric);
insert into t values (1, '{"a": [1, 2]}', null, to_tsvector('a b'), '1 mon', 'NaN', '\x00', '00000000-0000-0000-0000-000000000001', '{{1,2},{3,4}}', 1.50);
insert into t (id, a, n) select g, array(select generate_series(1, 5000)), g from generate_series(2, 5) g;
-- incident
drop table t;
