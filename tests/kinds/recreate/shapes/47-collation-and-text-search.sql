-- setup
create collation mine from "C";
create text search configuration cfg (copy = simple);
create text search dictionary d (template = simple);
create table t (id int primary key, a text collate mine);
insert into t values (1, 'ä');
create index on t using gin (to_tsvector('cfg', a));
-- incident
drop table t;
drop collation mine;
drop text search configuration cfg;
drop text search dictionary d;
