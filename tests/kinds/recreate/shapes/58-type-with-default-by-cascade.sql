-- setup
create type mood as enum ('sad', 'ok');
create function as_text(mood) returns text language sql immutable as 'select $1::text';
create table t (id int primary key);
insert into t values (1);
create view v as select as_text('ok'::mood);
-- incident
drop type mood cascade;
