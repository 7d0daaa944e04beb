"""What must not be left: sessions, locks, schemas, files, processes, changed definitions."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from psycopg import sql

from tests.soak.world import Connection, Row, plain

SETTLE_S = 5.0
KEPT = ("changes-", "decisions-")
FILES = ("journal.jsonl", "status.html", "notifications.jsonl")

SESSIONS = """
select pid, state, left(query, 60) from pg_stat_activity
where datname = current_database() and application_name like 'rowback%'
"""
LOCKS = """
select l.relation::regclass::text, l.mode, a.application_name from pg_locks l
join pg_stat_activity a on a.pid = l.pid
where l.database = (select oid from pg_database where datname = current_database())
and a.application_name like 'rowback%'
"""
SCHEMAS = """
select nspname from pg_namespace where nspname like 'rowback%' or nspname like 'recovered%'
"""
IMAGES = """
select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname like 'rowback\\_case\\_%' and obj_description(c.oid, 'pg_class') = {}
"""
DEFINITIONS = """
select 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid), convalidated::text
from pg_constraint where connamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
union all select 'trigger', tgrelid::regclass::text, tgname, pg_get_triggerdef(oid), tgenabled::text
from pg_trigger where not tgisinternal
union all select 'index', indrelid::regclass::text, indexrelid::regclass::text, pg_get_indexdef(indexrelid),
indisvalid::text from pg_index i join pg_class c on c.oid = i.indrelid
join pg_namespace n on n.oid = c.relnamespace where n.nspname !~ '^(pg_|information_schema|rowback)'
union all select 'relation', c.oid::regclass::text, c.relkind::text, c.relpersistence::text,
coalesce(c.relacl::text, '')
from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname !~ '^(pg_|information_schema|rowback)'
union all select 'function', p.oid::regprocedure::text, '', md5(p.prosrc), '' from pg_proc p
join pg_namespace n on n.oid = p.pronamespace where n.nspname !~ '^(pg_|information_schema|rowback)'
order by 1, 2, 3, 4, 5
"""


def definitions(app: Connection) -> list[tuple[object, ...]]:
    """Constraints, triggers and their state, indexes, relations and functions, by the catalogs."""
    return app.execute(DEFINITIONS).fetchall()


def sessions_left(app: Connection) -> Iterator[str]:
    """Sessions and locks of rowback that do not go within some seconds."""
    deadline = time.monotonic() + SETTLE_S
    while (found := [*app.execute(SESSIONS), *app.execute(LOCKS)]) and time.monotonic() < deadline:
        app.execute("select pg_sleep(0.005)")
    yield from (f"a session or lock of rowback is left: {row}" for row in found)


def schemas_left(app: Connection) -> Iterator[str]:
    """Prepared transactions and schemas of a case that was cleaned up."""
    yield from (f"schema {name} is left" for (name,) in app.execute(SCHEMAS))
    prepared = app.execute("select gid from pg_prepared_xacts where database = current_database()")
    yield from (f"prepared transaction {gid} is left" for (gid,) in prepared)


def temporary_tables_left(app: Connection) -> Iterator[str]:
    """Stages of dead sessions."""
    query = (
        "select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where n.nspname like 'pg_temp_%' and c.relkind = 'r'"
    )
    yield from (f"temporary table {name} is left" for (name,) in app.execute(query))


def files_left(home: Path) -> Iterator[str]:
    """Files of closed cases that are neither journal, page nor change sets, and anything beside the cases."""
    for path in sorted(path for path in home.rglob("*") if path.is_file()):
        inside = path.relative_to(home)
        in_case = len(inside.parts) == 3 and inside.parts[0] == "cases"
        change_set = path.name.startswith(KEPT) and path.suffix in (".sqlite", ".csv")
        if in_case and (path.name in FILES or change_set):
            continue
        if len(inside.parts) == 1:  # the home's own, such as a key
            continue
        yield f"file {inside} is left"


def processes_left(home: Path) -> Iterator[str]:
    """Processes whose environment or command line names a schedule's directory, other than this one."""
    mark = str(home).encode()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().replace(b"\0", b" ")
            named = mark in words or mark in (path / "environ").read_bytes()
        except OSError:
            continue
        if named and int(path.name) != os.getpid():
            yield f"process {path.name} is left: {words[:80].decode(errors='replace')}"


def before_images(app: Connection, printed: str) -> list[Row]:
    """Every before-image of a table, without the two columns that rowback puts in front."""
    found = app.execute(sql.SQL(IMAGES).format(sql.Literal(f"before-images of {printed}"))).fetchall()
    return [
        plain(row)[2:]
        for schema, name in found
        for row in app.execute(sql.SQL("select * from {}").format(sql.Identifier(schema, name)))
    ]


def dangling(app: Connection) -> Iterator[str]:
    """Rows that reference no parent, by a join of our own for every foreign key."""
    query = """
        select conrelid::regclass::text, confrelid::regclass::text,
          (select array_agg(attname order by k.i) from unnest(conkey) with ordinality k(a, i)
           join pg_attribute on attrelid = conrelid and attnum = k.a),
          (select array_agg(attname order by k.i) from unnest(confkey) with ordinality k(a, i)
           join pg_attribute on attrelid = confrelid and attnum = k.a)
        from pg_constraint where contype = 'f' and connamespace !~ '^pg_'
    """.replace("connamespace !~", "connamespace::regnamespace::text !~")
    for child, parent, columns, referenced in app.execute(query).fetchall():
        filled = [sql.SQL("{} is not null").format(sql.Identifier("c", name)) for name in columns]
        equal = [
            sql.SQL("{} = {}").format(sql.Identifier("p", up), sql.Identifier("c", down))
            for up, down in zip(referenced, columns, strict=True)
        ]
        # regclass prints names quoted where that is needed
        found = app.execute(
            sql.SQL("select count(*) from {} c where {} and not exists (select from {} p where {})").format(
                sql.SQL(child), sql.SQL(" and ").join(filled), sql.SQL(parent), sql.SQL(" and ").join(equal)
            )
        ).fetchone()
        if found and found[0]:
            yield f"{found[0]} rows of {child} reference no row of {parent}"
