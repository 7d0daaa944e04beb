-- setup
create table t0 (id int primary key, up int);
insert into t0 select g, null from generate_series(1, 5) g;
create table t1 (id int primary key, up int references t0);
insert into t1 select g, g from generate_series(1, 5) g;
create table t2 (id int primary key, up int references t1);
insert into t2 select g, g from generate_series(1, 5) g;
create table t3 (id int primary key, up int references t2);
insert into t3 select g, g from generate_series(1, 5) g;
create table t4 (id int primary key, up int references t3);
insert into t4 select g, g from generate_series(1, 5) g;
create table t5 (id int primary key, up int references t4);
insert into t5 select g, g from generate_series(1, 5) g;
create table t6 (id int primary key, up int references t5);
insert into t6 select g, g from generate_series(1, 5) g;
create table t7 (id int primary key, up int references t6);
insert into t7 select g, g from generate_series(1, 5) g;
create table t8 (id int primary key, up int references t7);
insert into t8 select g, g from generate_series(1, 5) g;
create table t9 (id int primary key, up int references t8);
insert into t9 select g, g from generate_series(1, 5) g;
create table t10 (id int primary key, up int references t9);
insert into t10 select g, g from generate_series(1, 5) g;
create table t11 (id int primary key, up int references t10);
insert into t11 select g, g from generate_series(1, 5) g;
-- incident
drop table t0 cascade;
drop table t1, t2, t3, t4, t5, t6, t7, t8, t9, t10, t11;
