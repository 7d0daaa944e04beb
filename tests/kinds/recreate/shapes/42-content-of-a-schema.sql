-- setup
create schema app;
create table app.t (id int primary key);
insert into app.t select generate_series(1, 5);
create table app.u (id int primary key references app.t);
insert into app.u values (2);
-- incident
drop table app.t, app.u;
