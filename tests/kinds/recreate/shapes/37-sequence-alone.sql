-- setup
create sequence s start 10 increment 3 cycle maxvalue 100;
select nextval('s');
select nextval('s');
create table t (id int default nextval('s'));
insert into t default values;
-- incident
drop table t;
drop sequence s;
