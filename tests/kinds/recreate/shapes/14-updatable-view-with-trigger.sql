-- setup
create table t (id int primary key, a text, n numeric);
insert into t select g, 'a' || g, g * 1.10 from generate_series(1, 40) g;
create view v as select * from t;
create function f() returns trigger language plpgsql as $$begin return new; end$$;
create trigger tr instead of insert on v for each row execute function f();
create rule r as on delete to v do instead nothing;
-- incident
drop table t cascade;
