-- setup
create table nothing ();
insert into nothing default values;
insert into nothing default values;
create table empty (id int);
-- incident
drop table nothing, empty;
