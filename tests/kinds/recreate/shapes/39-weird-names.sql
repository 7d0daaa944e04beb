-- setup
create schema "We.ird ""S";
create table "We.ird ""S"."Na me; --" ("t" int primary key, "select" text, "ä""ö" text);
insert into "We.ird ""S"."Na me; --" values (1, 'a', 'b');
create index "i dx" on "We.ird ""S"."Na me; --" ("select");
comment on column "We.ird ""S"."Na me; --"."t" is 'x';
-- incident
drop table "We.ird ""S"."Na me; --";
