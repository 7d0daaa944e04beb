"""Tables with everything that can hang on one: what is carried over by a swap, and what keeps a table from it."""

from __future__ import annotations

from dataclasses import dataclass

from tests.server.load.index_shapes import ROWS, SHAPES, T

FUNCTION = "create function f() returns trigger language plpgsql as 'begin return new; end'"
ROLES = (
    "do $$ begin if to_regrole('reader') is null then create role reader; end if;"
    ' if to_regrole(\'"Wri""ter"\') is null then create role "Wri""ter"; end if; end $$'
)


@dataclass(frozen=True)
class SwapShape:
    """`definitions`: of both sides; `here`: of the original alone. `tables`: all that are swapped together.

    `obstacle`: why it is not swapped; `otherwise`: what PostgreSQL prints otherwise than it reads; empty where it is.
    """

    name: str
    definitions: tuple[str, ...]
    rows: tuple[str, ...] = (ROWS,)
    tables: tuple[str, ...] = ("public.t",)
    obstacle: str = ""
    otherwise: str = ""
    here: tuple[str, ...] = ()


def hung(name: str, *definitions: str, obstacle: str = "", otherwise: str = "") -> SwapShape:
    return SwapShape(name, (T, *definitions), obstacle=obstacle, otherwise=otherwise)


FEW = "from generate_series(1, 300) g"

# The index shapes that are swapped, and why the others are not.
_INDEX_OBSTACLES = {
    "own function stays": 'index "i" calls a function that is not PostgreSQL\'s own',
    "own function in a predicate stays": 'index "i" calls a function that is not PostgreSQL\'s own',
    "depends on an extension stays": 'index "i" calls a function that is not PostgreSQL\'s own',
    "full text": "",
    "a materialized view": "materialized view public.m depends on it",
    "a publication": "it is published: subscribers would not see the rows",
    "unlogged": "it is unlogged",
    "a partition": "it is a partition, or another table inherits",
    "inherited": "it is a partition, or another table inherits",
    "storage and options": "",
}
INDEXED = tuple(
    SwapShape(shape.name, shape.definitions, shape.rows, (shape.table,), _INDEX_OBSTACLES.get(shape.name, ""))
    for shape in SHAPES
)
HUNG = (
    hung("nothing but a key"),
    SwapShape("no key at all", ("create table t (a int, b text)",), (f"insert into t select g % 5, 'x' {FEW}",)),
    hung("owner of another role", ROLES, "grant reader to current_user",
         "grant create, usage on schema public to reader", "alter table t owner to reader"),
    hung("grants", ROLES, "grant select, insert on t to reader", "grant update (a, b) on t to reader with grant option",
         'grant all on t to "Wri""ter"', "grant select (c) on t to public", "revoke delete on t from current_user"),
    hung("comments", "comment on table t is 'it''s'", "comment on column t.b is 'of \"b\"'",
         "comment on constraint t_pkey on t is 'key'", "comment on index t_pkey is 'its index'"),
    hung("checks", "alter table t add constraint few check (a < 10)", "comment on constraint few on t is 'why'",
         "alter table t add check (b is not null) no inherit"),
    hung("unique and deferrable", "alter table t add constraint u unique (id, a) deferrable initially deferred",
         "alter table t add constraint w unique (b, id) include (c)", "comment on constraint u on t is 'u'"),
    hung("exclusion", "create extension btree_gist",
         "alter table t add constraint x exclude using gist (id with =, e with &&) where (a > 1)"),
    hung("a deferrable key of its own", "alter table t add parent int",
         "alter table t add constraint up foreign key (parent) references t on delete cascade on update set null"
         " deferrable initially deferred", "comment on constraint up on t is 'up'"),
    SwapShape("parent and child", ("create table p (id int primary key)", "create table t (id int primary key, p int"
              " not null references p on delete cascade, q int constraint q references p match full)"),
              (f"insert into p select g {FEW}", f"insert into t select g, g, 301 - g {FEW}"),
              ("public.p", "public.t")),
    SwapShape("a circle", ("create table t (id int primary key, p int)", "create table p (id int primary key, t int"
              " references t deferrable initially deferred)",
              "alter table t add foreign key (p) references p deferrable initially deferred"),
              (f"begin; insert into p select g, g {FEW}; insert into t select g, g {FEW}; commit",),
              ("public.p", "public.t")),
    SwapShape("weird parents", ('create table "P (x) REFERENCES y" ("i d" int, "b" text, primary key ("i d", b))',
              'create table "T" (id int, "p)" int, "q"" " text, foreign key ("p)", "q"" ") references'
              ' "P (x) REFERENCES y")'), (f'insert into "P (x) REFERENCES y" select g, \'x\' {FEW}',
              f'insert into "T" select g, g, \'x\' {FEW}'), ('public."P (x) REFERENCES y"', 'public."T"')),
    hung("referenced by a table that stays", "create table down (t int constraint d references t on delete set"
         " null, n int)", "comment on constraint d on down is 'down'", "insert into down values (null, 1)"),
    hung("a serial", "alter table t add n serial, add m bigserial", "comment on sequence t_n_seq is 'n'",
         "alter sequence t_m_seq increment by -3 minvalue -900 maxvalue 900 start 5 cycle"),
    hung("an identity", "alter table t add n bigint generated always as identity (start 100 increment 7 cache 5)",
         "alter table t add m int generated by default as identity (sequence name named_otherwise)",
         ROLES, "grant usage on sequence t_n_seq to reader", "comment on sequence named_otherwise is 'm'"),
    hung("a shared sequence", "create sequence numbers", "alter table t add n bigint default nextval('numbers')"),
    SwapShape("generated", ("create table t (id int primary key, a int not null default 7, b int generated always as"
              " (a * 2) stored, c timestamptz default clock_timestamp(), d text default 'it''s')",),
              (f"insert into t (id, a) select g, g {FEW}",)),
    hung("triggers", FUNCTION, "create trigger a before insert or update of a, b on t for each row when (new.a > 1)"
         " execute function f('x', 'y')", "create trigger z after truncate on t execute function f()",
         "create constraint trigger c after insert on t deferrable initially deferred for each row execute"
         " function f()", "comment on trigger a on t is 'why'"),
    hung("triggers in every state", FUNCTION, *(f"create trigger {name} before update on t for each row"
         " execute function f()" for name in ("o", "d", "r", "a")),
         "alter table t disable trigger d", "alter table t enable replica trigger r",
         "alter table t enable always trigger a"),
    hung("transition tables", FUNCTION, "create trigger t after update on t referencing old table as o new table as n"
         " for each statement execute function f()"),
    hung("policies", ROLES, "alter table t enable row level security", "create policy p on t for select using (a > 1)",
         'create policy q on t as restrictive for update to reader, "Wri""ter" using (id > 1) with check (id > 2)',
         "create policy r on t for insert with check (true)", "comment on policy p on t is 'p'"),
    SwapShape("forced policies", (T, "alter table t enable row level security"), here=("alter table t force row level"
              " security",), obstacle="row security is forced on its owner"),
    hung("extended statistics", "create schema other", "create statistics s (dependencies, ndistinct) on a, b from t",
         "create statistics other.mcv (mcv) on a, (c + 1) from t", "alter statistics s set statistics 55",
         "comment on statistics s is 's'"),
    hung("column settings", "alter table t alter b set statistics 321", "alter table t alter a set (n_distinct = -0.5)",
         "alter table t alter b set storage external", "alter table t alter b set compression pglz"),
    hung("options", "alter table t set (fillfactor = 71, autovacuum_vacuum_scale_factor = 0.01,"
         " toast.autovacuum_enabled = off, parallel_workers = 3)"),
    hung("replica identity full", "alter table t replica identity full"),
    hung("replica identity nothing", "alter table t replica identity nothing"),
    hung("clustered by its key", "alter table t cluster on t_pkey"),
    hung("views", "create view v as select * from t where a > 1", "create view w with (security_barrier)"
         " as select a, count(*) as \"n o\" from t group by a", "create view x as select * from w",
         "comment on view v is 'v'", "grant select on v to public", "alter view v alter a set default 7"),
    hung("a view that needs the key", "create view v as select * from t group by id"),
    hung("a view with a trigger and options", FUNCTION, "create view v with (security_invoker) as select id, a from t"
         " where a > 1 with cascaded check option", "create trigger i instead of insert on v for each row execute"
         " function f()"),
    SwapShape("a view over two", ("create table p (id int primary key)", "create table t (id int references p)",
              "create view v as select t.id as t, p.id as p from t left join p using (id) where exists"
              " (select from t x where x.id = p.id)"), (f"insert into p select g {FEW}",
              f"insert into t select g {FEW}"), ("public.p", "public.t")),
    hung("a recursive view",
         "create recursive view v (n) as select id from t union all select n + 1 from v where n < 3"),
    hung("a view of its rows as values", "create view v as select t as whole from t",
         obstacle="column whole of view public.v depends on it"),
    hung("a function of its row type", "create function g(t) returns int language sql return $1.a",
         obstacle="function public.g(public.t) depends on it"),
    hung("a function with a parsed body", "create function g() returns bigint language sql begin atomic"
         " select count(*) from t; end", obstacle="function public.g() depends on it"),
    hung("a function in a string",
         "create function g() returns bigint language sql as 'select count(*) from public.t'"),
    hung("a column of its type", "create table other (x t)", obstacle="column x of table public.other depends on it"),
    hung("an array of its type", "create table other (x t[])", obstacle="column x of table public.other depends on it"),
    hung("a rule", "create rule r as on delete to t do instead nothing", obstacle="it has a rule"),
    hung("a rule of another", "create table other (id int)", "create rule r as on insert to other do also insert into t"
         " (id) values (new.id)", obstacle="table public.other depends on it"),
    hung("a policy of another", "create table other (id int)",
         "create policy p on other using (exists (select from t))",
         obstacle="policy p on table public.other depends on it"),
    hung("a trigger of another", FUNCTION, "create table other (id int)", "create constraint trigger c after insert on"
         " other from t for each row execute function f()", obstacle="trigger c on table public.other depends on it"),
    hung("another's default", "alter table t add n int generated always as identity", "create table other (n bigint"
         " default nextval('t_n_seq'))", obstacle='something depends on its sequence "t_n_seq"'),
    hung("a serial that another shares", "alter table t add n serial", "create table other (n bigint"
         " default nextval('t_n_seq'))"),
    SwapShape("a dropped column", ("create table t (id int primary key, x int, a int)", "alter table t drop x"),
              (f"insert into t select g, g {FEW}",), obstacle="it has columns that were dropped"),
    hung("a partitioned child", "create table down (t int references t) partition by range (t)",
         obstacle="public.down references it and is partitioned"),
    hung("a child's key that is not valid", "create table down (t int)", "insert into down values (1)",
         "alter table down add foreign key (t) references t not valid",
         obstacle='the key "down_t_fkey" of public.down is not valid'),
    SwapShape("a check that is not valid", (T,), here=("alter table t add constraint k check (a > 100) not valid",),
              obstacle='constraint "k" is not valid'),
    SwapShape("a partitioned parent", ("create table p (id int primary key) partition by range (id)",
              "create table p1 partition of p default", "insert into p values (1)",
              "create table t (id int primary key, p int references p)"), (f"insert into t select g, 1 {FEW}",),
              obstacle='it references a partitioned table ("t_p_fkey")'),
    hung("an index that prints otherwise", "alter table t add s varchar(9)",
         "create index i on t (id) where s in ('new', 'paid')", otherwise="index"),
    hung("a view that prints otherwise", "alter table t add s varchar(9)",
         "create view v as select id from t where s in ('new', 'paid')", otherwise="view"),
    hung("a check that prints otherwise", "alter table t add s varchar(9) check (s in ('new', 'paid'))"),
    hung("rights on its row type", "grant usage on type t to public",
         obstacle="its row type has rights or a comment of its own"),
    hung("a comment on its row type", "comment on type t is 'row'",
         obstacle="its row type has rights or a comment of its own"),
    hung("a PL/pgSQL variable of its row type", "create function g() returns void language plpgsql as"
         " 'declare r T%rowtype; begin select * into r from t; end'",
         obstacle="a PL/pgSQL function may have variables of its row type, which sessions keep"),
    hung("a PL/pgSQL array of its row type", "create function g() returns void language plpgsql as"
         " 'begin declare s public.t[]; begin s := array(select x from t x); end; end'",
         obstacle="a PL/pgSQL function may have variables of its row type, which sessions keep"),
    SwapShape("a PL/pgSQL variable of a strange row type",
              ('create table "T(.x" (id int)', "create function g() returns"
              ' void language plpgsql as \'declare r "T(.x"; begin end\''), ('insert into "T(.x" values (1)',),
              ('public."T(.x"',),
              "a PL/pgSQL function may have variables of its row type, which sessions keep"),
    hung("a PL/pgSQL function that reads it", "create function g() returns bigint language plpgsql as"
         " 'declare n bigint; begin return count(*) from tt; end'", "create function h() returns bigint language"
         " plpgsql as 'begin return count(*) from t; end'"),
    hung("a key by another unique index", "create unique index aaa on t (id)", "create table c (id int references t)",
         otherwise="constraint"),
    hung("typed", "drop table t", "create type u as (id int, a int, b text, c numeric, d timestamptz, e int4range,"
         " f jsonb, g text[])", "create table t of u", obstacle="it is a typed table"),
)  # fmt: skip
