-- setup
create schema "Weird; Schema";
create table "Weird; Schema"."Weird Name; --" ("Id" int primary key, "t" json, "select" point, "ü €" bytea,
  "a b" text[] collate "C", iv interval, j jsonb, "s" text collate "C" not null);
insert into "Weird; Schema"."Weird Name; --"
  select g, json_build_object('n', g), point(g, -g), decode(md5(g::text), 'hex'), array['x', null, 'y' || g],
    make_interval(days => g), jsonb_build_object('k', g), E'line\n\ttab\\' || g from generate_series(1, 80) g;
-- incident
alter table "Weird; Schema"."Weird Name; --" drop column "t", drop column "select", drop column "ü €",
  drop column "a b", drop column iv, drop column j, drop column "s";
-- tables: "Weird; Schema"."Weird Name; --"
