-- setup
create table "a
b" (id int primary key);
insert into "a
b" values (1);
create view "v ""q""" as select * from "a
b";
-- incident
drop table "a
b" cascade;
