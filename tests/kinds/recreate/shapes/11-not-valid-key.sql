-- setup
create table t (id int primary key, a text, n numeric);
insert into t select g, 'a' || g, g * 1.10 from generate_series(1, 40) g;
create table child (t int);
insert into child values (99);
alter table child add constraint c foreign key (t) references t not valid;
-- incident
drop table t cascade;
