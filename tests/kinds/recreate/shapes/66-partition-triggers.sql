-- setup
create table t (a int, b text) partition by range (a);
create table t1 partition of t for values from (0) to (10);
create function f() returns trigger language plpgsql as $$begin return new; end$$;
create trigger tr after insert on t for each row execute function f();
insert into t values (1, 'x');
-- incident
drop table t1;
