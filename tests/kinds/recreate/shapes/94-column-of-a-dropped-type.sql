-- setup
create type mood as enum ('sad', 'ok', 'happy');
create domain amount as numeric check (value >= 0);
create table t (id int primary key, m mood not null default 'ok', x amount, ms mood[]);
insert into t select g, (array['sad', 'ok', 'happy'])[1 + g % 3]::mood, g, array['sad', 'happy']::mood[]
  from generate_series(1, 120) g;
create function gladdest(mood) returns boolean language sql immutable as $$ select $1 = 'happy' $$;
-- incident
drop type mood cascade;
drop domain amount cascade;
-- tables:
