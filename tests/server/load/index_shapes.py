"""Tables with indexes of every shape: their rows at T, and which of their indexes may be away meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

T = "create table t (id int primary key, a int, b text, c numeric, d timestamptz, e int4range, f jsonb, g text[])"
ROWS = (
    "insert into t select g, g % 7, md5(g::text), g / 3.0, timestamptz '2026-01-01Z' + g * interval '1 hour',"
    " int4range(g, g + 3), jsonb_build_object('k', g % 5), array['x' || g % 3, 'y'] from generate_series(1, 300) g"
)


@dataclass(frozen=True)
class Shape:
    """`definitions`: of both sides. `dropped`: names of the indexes that are dropped and built again."""

    name: str
    definitions: tuple[str, ...]
    dropped: tuple[str, ...]
    rows: tuple[str, ...] = (ROWS,)
    table: str = "public.t"


def plain(name: str, *indexes: str, dropped: tuple[str, ...] = ("i",)) -> Shape:
    return Shape(name, (T, *indexes), dropped)


def other(name: str, table: str, rows: str, *more: str, dropped: tuple[str, ...] = ("i",)) -> Shape:
    return Shape(name, (table, *more), dropped, (rows,))


SHAPES = (
    plain("btree", "create index i on t (a)"),
    plain("two", "create index i on t (a)", "create index j on t (b)", dropped=("i", "j")),
    plain("several columns", "create index i on t (a, b, c)"),
    plain("descending, nulls last", "create index i on t (a desc nulls last, b asc nulls first)"),
    plain("including", "create index i on t (a) include (b, c)"),
    plain("partial", "create index i on t (a) where b > '8' and c is not null"),
    plain("expression", "create index i on t (lower(b), (a + 1))"),
    plain("expression with a cast", "create index i on t ((c::int))"),
    plain("collation", 'create index i on t (b collate "C")'),
    plain("operator class", "create index i on t (b text_pattern_ops)"),
    plain("gin", "create index i on t using gin (f)"),
    plain("gin with an operator class", "create index i on t using gin (f jsonb_path_ops)"),
    plain("gin of an array", "create index i on t using gin (g) with (fastupdate = off, gin_pending_list_limit = 128)"),
    plain("gist", "create index i on t using gist (e)"),
    plain("spgist", "create index i on t using spgist (e)"),
    plain("brin", "create index i on t using brin (d) with (pages_per_range = 16, autosummarize = on)"),
    plain("brin with parameters", "create index i on t using brin (a int4_minmax_multi_ops(values_per_range = 16))"),
    plain("hash", "create index i on t using hash (b)"),
    plain("fillfactor", "create index i on t (a) with (fillfactor = 70, deduplicate_items = off)"),
    plain("comment", "create index i on t (a)", "comment on index i is 'why; it''s \"here\"'"),
    plain("statistics of an expression", "create index i on t ((a + 1), b, lower(b))"
          , "alter index i alter column 1 set statistics 500", "alter index i alter column 3 set statistics 0"),
    plain("clustered", "create index i on t (a)", "alter table t cluster on i"),
    plain("clustered by its key", "create index i on t (a)", "alter table t cluster on t_pkey"),
    plain("weird names", 'create index "I; drop; --" on t (a)', 'create index "sel""ect" on t (b)',
          dropped=("I; drop; --", 'sel"ect')),
    plain("a long name", f'create index "{"i" * 63}" on t (a)', dropped=("i" * 63,)),
    plain("unique stays", "create unique index i on t (id, a)", dropped=()),
    plain("unique with nulls not distinct stays", "create unique index i on t (a, id)", dropped=()),
    plain("constraint stays", "alter table t add constraint i unique (id, b)", dropped=()),
    plain("exclusion stays", "create extension btree_gist", "alter table t add constraint i exclude using gist"
          " (id with =, e with &&)", dropped=()),
    plain("replica identity stays", "alter table t alter b set not null", "create unique index i on t (id, b)",
          "alter table t replica identity using index i", "create index j on t (b)", dropped=("j",)),
    plain("own function stays", "create function twice(int) returns int language sql immutable return $1 * 2",
          "create index i on t (twice(a))", dropped=()),
    plain("own function in a predicate stays", "create function odd(int) returns boolean language sql immutable"
          " return $1 % 2 = 1", "create index i on t (b) where odd(a)", dropped=()),
    plain("depends on an extension stays", "create extension pg_trgm", "create index i on t (a)",
          "alter index i depends on extension pg_trgm", dropped=()),
    plain("operator class of an extension", "create extension pg_trgm",
          "create index i on t using gin (b gin_trgm_ops)"),
    plain("operator class with parameters", "create extension pg_trgm",
          "create index i on t using gist (b gist_trgm_ops(siglen = 32))"),
    plain("operator class of a bit string", "create extension intarray",
          "alter table t add h int[]", "create index i on t using gin (h gin__int_ops)"),
    plain("foreign keys", "create index i on t (a)", "alter table t add foreign key (id) references t",
          "create table down (t int references t)", "create index j on down (t)"),
    plain("extended statistics", "create index i on t (a)", "create statistics s (dependencies) on a, b from t"),
    plain("policies and grants", "create index i on t (a)", "grant select (a) on t to public",
          "create policy p on t using (true)", "grant insert on t to public"),
    plain("views", "create index i on t (a)", "create view v as select a, count(*) from t group by a",
          "create view w as select * from t group by id"),
    plain("a materialized view", "create index i on t (a)", "create materialized view m as select a from t",
          "create index j on m (a)"),
    plain("triggers", "create index i on t (a)", "create function f() returns trigger language plpgsql as"
          " 'begin return new; end'", "create trigger g before update on t for each row execute function f()"),
    plain("a publication", "create index i on t (a)", "create publication p for table t (id, a) where (id > 3)"),
    plain("not valid", "create index i on t (a)", "alter table t add check (a > 100) not valid",
          "alter table t drop constraint t_a_check"),
    other("storage and options", "create table t (id int primary key, b text compression pglz)"
          " with (fillfactor = 80, autovacuum_enabled = off)", "insert into t select g, repeat('x', g)"
          " from generate_series(1, 300) g", "create index i on t (left(b, 10))",
          "alter table t alter b set storage external"),
    other("identity and generated", "create table t (id int generated always as identity primary key, a int,"
          " b int generated always as (a * 2) stored)", "insert into t (a) select g from generate_series(1, 300) g",
          "create index i on t (b)"),
    other("no key", "create table t (a int, b text)", "insert into t select g % 5, 'x' from generate_series(1, 300) g",
          "create index i on t (a)"),
    other("unlogged", "create unlogged table t (id int primary key, a int)",
          "insert into t select g, g from generate_series(1, 300) g", "create index i on t (a)"),
    other("domains and enums", "create table t (id int primary key, m mood, p positive)",
          "insert into t select g, 'sad', g from generate_series(1, 300) g", "create index i on t (m, p)"),
    other("citext", "create table t (id int primary key, b citext)",
          "insert into t select g, 'X' || g from generate_series(1, 300) g", "create index i on t (b)"),
    other("ltree and hstore", "create table t (id int primary key, b ltree, h hstore)",
          "insert into t select g, ('a.b' || g)::ltree, hstore('k', g::text) from generate_series(1, 300) g",
          "create index i on t using gist (b)", "create index j on t using gin (h)", dropped=("i", "j")),
    other("full text", "create table t (id int primary key, b text)",
          "insert into t select g, 'word ' || g from generate_series(1, 300) g",
          "create index i on t using gin (to_tsvector('english', b))"),
    Shape("a partition", ("create table p (id int, a int) partition by range (id)", "create index pi on p (a)",
          "create table t partition of p for values from (0) to (1000)", "create index i on t (a desc)"), ("i",),
          ("insert into t select g, g from generate_series(1, 300) g",)),
    Shape("inherited", ("create table p (id int, a int)", "create table t (b int) inherits (p)",
          "create index i on t (a)"), ("i",), ("insert into t select g, g, g from generate_series(1, 300) g",)),
    Shape("weird table", ('create schema "S; x"', 'create table "S; x"."Weird Name; --" (id int primary key, "t" int)',
          'create index "i""" on "S; x"."Weird Name; --" ("t")'), ('i"',),
          ('insert into "S; x"."Weird Name; --" select g, g from generate_series(1, 300) g',),
          '"S; x"."Weird Name; --"'),
)  # fmt: skip
TYPES = {
    "mood": "create type mood as enum ('sad', 'glad')",
    "positive": "create domain positive as int check (value > 0)",
    "citext": "create extension citext",
    "ltree": "create extension ltree",
    "hstore": "create extension hstore",
}


def types_for(definitions: tuple[str, ...]) -> list[str]:
    """What has to be made before, of the types that are named."""
    return [statement for name, statement in TYPES.items() if any(name in text for text in definitions)]
