-- setup
create schema s;
create type s.e as enum ('a');
create domain s.d as int constraint pos check (value > 0);
create sequence s.q;
create table s.t (id s.d primary key, e s.e);
create function s.f() returns trigger language plpgsql as $$begin return new; end$$;
create trigger tr before insert on s.t for each row execute function s.f();
alter table s.t enable row level security;
create policy po on s.t using (true);
create rule ru as on delete to s.t do also nothing;
comment on schema s is 'c1';
comment on type s.e is 'c2';
comment on domain s.d is 'c3';
comment on constraint pos on domain s.d is 'c4';
comment on sequence s.q is 'c5';
comment on function s.f is 'c6';
comment on trigger tr on s.t is 'c7';
comment on policy po on s.t is 'c8';
comment on rule ru on s.t is 'c9';
insert into s.t values (1, 'a');
-- incident
drop schema s cascade;
