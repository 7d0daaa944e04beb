-- setup
create table t (id serial primary key, a text, b text not null unique);
insert into t (a, b) select 'a' || g, 'b' || g from generate_series(1, 200) g;
create table child (id int primary key, t int references t);
insert into child select g, g from generate_series(1, 50) g;
-- incident
alter table t drop column id cascade;
-- tables: t
