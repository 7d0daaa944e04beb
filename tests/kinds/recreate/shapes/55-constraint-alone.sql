-- setup
create table t (id int primary key, a text, n numeric);
insert into t select g, 'a' || g, g * 1.10 from generate_series(1, 40) g;
alter table t add constraint once unique (a);
create table u (a text references t (a));
insert into u values ('a3');
-- incident
alter table t drop constraint once cascade;
-- tables: t
