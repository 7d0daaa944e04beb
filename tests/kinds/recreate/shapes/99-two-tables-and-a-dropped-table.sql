-- setup
create table a (id int primary key, x text not null);
create table b (id int primary key, a int references a, y int);
create table c (id int primary key, b int references b);
insert into a select g, 'x' || g from generate_series(1, 50) g;
insert into b select g, g, g from generate_series(1, 50) g;
insert into c select g, g from generate_series(1, 50) g;
create view all_of_them as select x, y, c.id from a join b on b.a = a.id join c on c.b = b.id;
-- incident
drop view all_of_them;
alter table a drop column x;
alter table b drop column a, drop column y;
drop table c;
-- tables:
