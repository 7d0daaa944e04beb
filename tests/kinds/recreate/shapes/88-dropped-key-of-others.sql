-- setup
create table t (id int primary key, code text not null unique, a text);
create table child (id int primary key, code text references t (code) on delete cascade);
insert into t select g, 'c' || g, 'x' from generate_series(1, 100) g;
insert into child select g, 'c' || g from generate_series(1, 60) g;
-- incident
alter table t drop column code cascade;
-- tables: t
