-- setup
create table t (id int primary key, a text, b text);
create table heir (more int, primary key (id)) inherits (t);
insert into t select g, 'a' || g, 'b' || g from generate_series(1, 100) g;
insert into heir select g, 'a' || g, 'h' || g, g from generate_series(1, 80) g;
-- incident
alter table t drop column b;
-- tables:
