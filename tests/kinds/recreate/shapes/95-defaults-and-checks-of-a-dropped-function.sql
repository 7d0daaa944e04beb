-- setup
create function fresh() returns int language sql stable as $$ select 42 $$;
create function fits(int) returns boolean language sql immutable as $$ select $1 < 1000 $$;
create sequence s;
create table t (id int primary key default nextval('s'), a int default fresh(), b int check (fits(b)));
insert into t (b) select g from generate_series(1, 90) g;
-- incident
drop function fresh() cascade;
drop function fits(int) cascade;
drop sequence s cascade;
-- tables:
