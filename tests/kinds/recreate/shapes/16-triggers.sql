-- setup
create table t (id int primary key, a text, n numeric);
insert into t select g, 'a' || g, g * 1.10 from generate_series(1, 40) g;
create function f() returns trigger language plpgsql as $$begin new.a := new.a || '!'; return new; end$$;
create trigger b before insert or update of a on t for each row when (new.id > 3) execute function f();
create trigger off after delete on t for each statement execute function f();
alter table t disable trigger off;
create trigger always before insert on t for each row execute function f();
alter table t enable always trigger always;
-- incident
drop table t;
