-- setup
create type mood as enum ('sad', 'so so', 'ok');
create domain percent as numeric(5, 2) default 0 check (value between 0 and 100);
create table t (id int primary key, m mood, p percent, ms mood[]);
insert into t values (1, 'ok', 5, '{sad,ok}');
-- incident
drop table t;
drop type mood;
drop domain percent;
