-- setup
create type fr as range (subtype = float8, multirange_type_name = fmr);
create domain d1 as text check (value <> '');
create domain d2 as d1 not null default 'x' check (length(value) < 5);
create table t (id int primary key, f fr, m fmr, d d2, ds d1[]);
insert into t values (1, fr(1, 2), '{[1,2)}', 'abc', '{a,b}');
-- incident
drop table t;
drop domain d2;
drop domain d1;
drop type fr cascade;
