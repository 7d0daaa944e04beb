-- setup
create table firms (code text primary key, name text);
insert into firms select 'f' || g, 'name ' || g from generate_series(1, 20) g;
create table t (id int primary key, a text, firm text not null default 'f1' references firms, n int check (n > 0),
  constraint both_set check (a is not null or n < 1000));
insert into t select g, 'a' || g, 'f' || (1 + g % 20), g from generate_series(1, 300) g;
create index t_firm on t (firm, id);
create unique index t_lower on t (lower(firm), id) where n > 10;
create view of_firms as select firm, count(*) as times from t group by firm;
create statistics t_stat on firm, n from t;
grant select (firm, id) on t to pg_monitor;
comment on column t.firm is 'whose';
alter table t alter column firm set statistics 300;
alter table t alter column firm set storage external;
-- incident
alter table t drop column firm cascade;
alter table t drop column n cascade;
-- tables:
