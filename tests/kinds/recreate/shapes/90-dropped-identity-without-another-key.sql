-- setup
create table t (id bigint generated always as identity (start 100 increment 5) primary key, a text);
insert into t (a) select 'a' || g from generate_series(1, 200) g;
-- incident
alter table t drop column id;
-- tables: t
