-- setup
create table t (id int primary key, a text, n numeric);
insert into t select g, 'a' || g, g * 1.10 from generate_series(1, 40) g;
grant select, insert on t to public;
grant update (a) on t to public;
-- incident
drop table t;
