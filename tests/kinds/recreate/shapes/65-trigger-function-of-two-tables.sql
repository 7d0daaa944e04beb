-- setup
create table t (id int primary key, a text, n numeric);
insert into t select g, 'a' || g, g * 1.10 from generate_series(1, 40) g;
create table u (id int);
create function f() returns trigger language plpgsql as $$begin return new; end$$;
create trigger a before insert on t for each row execute function f();
create trigger b before insert on u for each row execute function f();
-- incident
drop function f cascade;
drop table u;
