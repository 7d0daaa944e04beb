-- setup
create table t (id int primary key, a text, n numeric);
insert into t select g, 'a' || g, g * 1.10 from generate_series(1, 40) g;
create table child (id int primary key, t int not null references t on delete cascade on update set null deferrable initially deferred);
insert into child select g, g from generate_series(1, 20) g;
-- incident
drop table t cascade;
