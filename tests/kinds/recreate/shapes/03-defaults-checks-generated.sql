-- setup
create table t (id int primary key default 7, a text not null default 'x' check (a <> ''), b text generated always as (upper(a)) stored, constraint two check (id > 0 and length(a) < 9));
insert into t (id, a) values (1, 'q'), (2, 'w');
-- incident
drop table t;
