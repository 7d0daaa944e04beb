-- setup
create table t (id int primary key, a text);
insert into t values (1, 'x');
create view v as select * from t;
create rule ins as on insert to v do instead insert into t values (new.id, new.a) returning t.*;
-- incident
drop view v;
