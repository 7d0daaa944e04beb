-- setup
create unlogged table t (id int primary key);
create table u (id int primary key);
insert into u values (1);
-- incident
drop table t, u;
