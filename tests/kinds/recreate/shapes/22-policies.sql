-- setup
create table t (id int primary key, a text, n numeric);
insert into t select g, 'a' || g, g * 1.10 from generate_series(1, 40) g;
alter table t enable row level security;
create policy mine on t for select to public using (a = current_user);
create policy strict on t as restrictive for all using (id > 0) with check (id < 1000);
-- incident
drop table t;
