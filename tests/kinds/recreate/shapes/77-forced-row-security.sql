-- setup
create table t (id int primary key, a text, n numeric);
insert into t select g, 'a' || g, g * 1.10 from generate_series(1, 40) g;
alter table t enable row level security;
alter table t force row level security;
alter table t no force row level security;
create policy p on t as permissive for update to public using (n > 1) with check (n < 100);
-- incident
drop table t;
