-- setup
create table t (id int primary key, a text, n numeric);
insert into t select g, 'a' || g, g * 1.10 from generate_series(1, 40) g;
create recursive view r (n) as values (1) union all select n + 1 from r where n < 5;
create view inv with (security_invoker = true, check_option = cascaded) as select * from t where id > 0;
-- incident
drop table t cascade;
drop view r;
