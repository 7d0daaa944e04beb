-- setup
create table t (id int primary key, a text, n numeric);
insert into t select g, 'a' || g, g * 1.10 from generate_series(1, 40) g;
create function f() returns trigger language plpgsql as $$begin return null; end$$;
create constraint trigger c after insert on t deferrable initially deferred for each row execute function f();
create trigger tt after update on t referencing old table as o new table as n for each statement execute function f();
-- incident
drop table t;
