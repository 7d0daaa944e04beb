-- setup
create table t (id int primary key, a text, n numeric);
insert into t select g, 'a' || g, g * 1.10 from generate_series(1, 40) g;
create function f() returns trigger language plpgsql as $$begin return new; end$$;
create trigger tr before insert on t for each row execute function f();
-- incident
drop function f cascade;
