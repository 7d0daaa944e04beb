-- setup
create table parent (id int primary key);
insert into parent select generate_series(1, 9);
create table child (id int primary key, p int references parent);
insert into child select g, g from generate_series(1, 9) g;
-- incident
drop table child, parent;
