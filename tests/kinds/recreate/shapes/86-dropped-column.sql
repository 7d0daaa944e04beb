-- setup
create table t (id int primary key, a text not null, b int default 7, c numeric(10,2));
insert into t select g, 'a' || g, nullif(g % 5, 0), g / 3.0 from generate_series(1, 500) g;
comment on column t.b is 'how often';
-- incident
alter table t drop column b;
-- tables: t
