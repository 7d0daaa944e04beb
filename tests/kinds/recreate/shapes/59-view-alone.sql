-- setup
create table t (id int primary key, a text, n numeric);
insert into t select g, 'a' || g, g * 1.10 from generate_series(1, 40) g;
create view v as select a from t;
create view w as select a from v;
comment on view v is 'v';
grant select on w to public;
-- incident
drop view v cascade;
