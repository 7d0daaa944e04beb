-- setup
create table t (id int primary key, a text, owner_name text, changed timestamptz default now());
create table log (id serial primary key, what text);
create function note() returns trigger language plpgsql as $$ begin
  insert into log (what) values (tg_op); new.a := new.a || '!'; return new; end $$;
insert into t select g, 'a' || g, 'o' || g % 3, '2026-01-01' from generate_series(1, 70) g;
create trigger touched before update on t for each row execute function note();
create trigger of_owner after update of owner_name on t for each row execute function note();
create rule no_update as on update to log do instead nothing;
create policy mine on t using (owner_name = current_user);
-- incident
alter table t drop column owner_name cascade;
-- tables: t
