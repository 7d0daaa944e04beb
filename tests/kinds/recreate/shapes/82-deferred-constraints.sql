-- setup
create table t (id int primary key, a int unique deferrable, b int);
create table u (id int primary key, t int, constraint k foreign key (t) references t (id) deferrable initially deferred not valid);
insert into t values (1, 1, 1);
insert into u values (1, 1);
-- incident
drop table t cascade;
