"""Put a used database back to what it was when it was new: rows and sequences of the tables that changed, no more.

What rows alone do not tell (definitions, settings, large objects) is not put back: such a database is given up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg import sql

Connection = psycopg.Connection[Any]

TABLES = """
select c.oid::bigint, n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r') and c.relpersistence <> 't' and n.nspname not like 'pg\\_%'
  and n.nspname <> 'information_schema'
order by 1
"""
SEQUENCES = TABLES.replace("('r')", "('S')")
VIEWS = TABLES.replace("('r')", "('m')")  # materialized
# Catalogs whose rows are born and die with definitions, and what of pg_class is said by nothing else.
_CATALOGS = (
    "pg_attribute",
    "pg_attrdef",
    "pg_constraint",
    "pg_proc",
    "pg_aggregate",
    "pg_trigger",
    "pg_index",
    "pg_type",
    "pg_range",
    "pg_enum",
    "pg_rewrite",
    "pg_policy",
    "pg_extension",
    "pg_inherits",
    "pg_description",
    "pg_seclabel",
    "pg_sequence",
    "pg_default_acl",
    "pg_event_trigger",
    "pg_publication",
    "pg_publication_rel",
    "pg_collation",
    "pg_statistic_ext",
    "pg_cast",
    "pg_conversion",
    "pg_transform",
    "pg_language",
    "pg_operator",
    "pg_opclass",
    "pg_opfamily",
    "pg_amop",
    "pg_amproc",
    "pg_am",
    "pg_ts_config",
    "pg_ts_config_map",
    "pg_ts_dict",
    "pg_ts_parser",
    "pg_ts_template",
    "pg_foreign_data_wrapper",
    "pg_foreign_server",
    "pg_foreign_table",
    "pg_user_mapping",
    "pg_largeobject",
    "pg_largeobject_metadata",
    "pg_partitioned_table",
    # the first temporary table of a session makes a schema that stays
    "(select xmin from pg_namespace where nspname !~ '^pg_(toast_)?temp_') namespaces",
)
DEFINITIONS = """
select (select md5(string_agg(concat_ws(' ', oid, relname, relowner, relacl, reloptions, relrowsecurity,
                                        relforcerowsecurity, relpersistence, relkind, relreplident, relam,
                                        relispopulated, case relkind when 'm' then relfilenode end), ',' order by oid))
        from pg_class where oid >= 16384 and relkind <> 't' and relpersistence <> 't'),
       (select concat_ws(' ', datconnlimit, datacl, datallowconn, datdba, datistemplate) from pg_database
        where datname = current_database()),
       (select string_agg(setconfig::text, ',' order by setrole) from pg_db_role_setting
        where setdatabase = (select oid from pg_database where datname = current_database())),
       array[{counts}], {newer}
""".format(  # noqa: S608 (constants)
    counts=", ".join(f"(select count(*) from {name})" for name in _CATALOGS),  # noqa: S608
    newer=" or ".join(f"exists (select from {name} where age(xmin) <= age(%(born)s::xid))" for name in _CATALOGS),
)


@dataclass(frozen=True)
class _UsedTable:
    oid: int
    name: sql.Identifier


@dataclass(frozen=True)
class Baseline:
    """How a new database looks: the same for all clones of one template.

    `empty`: tables without rows; `seeded`: those with rows, their number and content as COPY gives it. `sequences`:
    value and whether it was used. `views`: materialized ones, and their numbers of rows. `definitions`: counts and
    digests of the catalogs. `mighty`: whether we may switch triggers off while rows are put back.
    """

    empty: tuple[_UsedTable, ...]
    seeded: dict[int, tuple[_UsedTable, int, bytes]]
    sequences: tuple[tuple[_UsedTable, int, bool], ...]
    views: tuple[tuple[_UsedTable, int], ...]
    definitions: tuple[Any, ...]
    mighty: bool

    @classmethod
    def of(cls, connection: Connection) -> Baseline:
        """The baseline of a freshly migrated database, before its first test. `connection`: in autocommit mode."""
        tables = _named(connection, TABLES)
        counts = [_count(connection, table) for table in tables]
        seeded = {t.oid: (t, n, _content(connection, t)) for t, n in zip(tables, counts, strict=True) if n}
        sequences, views = _named(connection, SEQUENCES), _named(connection, VIEWS)
        mighty = connection.execute("select rolsuper from pg_roles where rolname = current_user").fetchone()
        return cls(
            empty=tuple(t for t, n in zip(tables, counts, strict=True) if not n),
            seeded=seeded,
            sequences=tuple((s, *state) for s, state in zip(sequences, _states(connection, sequences), strict=True)),
            views=tuple((view, _count(connection, view)) for view in views),
            definitions=(),
            mighty=bool(mighty and mighty[0]),
        ).defined(connection)

    def defined(self, connection: Connection) -> Baseline:
        """With the digest of its definitions, which only a superuser can read wholly."""
        if not self.mighty:
            return self
        return replace(self, definitions=_definitions(connection, next_transaction(connection))[:-1])

    def restore(self, connection: Connection, born: str) -> bool:
        """Put rows and sequences back.

        False when more than those changed since transaction id `born`, or when we are no superuser.
        """
        if not self.mighty:
            return False
        *definitions, newer = _definitions(connection, born)
        if newer or tuple(definitions) != self.definitions or self._refreshed(connection, born):
            return False
        dirty, seeded = self._dirty(connection), self._dirty_seeds(connection, born)
        with connection.transaction():
            connection.execute("set local session_replication_role = replica")
            for table in (*dirty, *(self.seeded[oid][0] for oid in seeded)):
                connection.execute(sql.SQL("delete from only {}").format(table.name))
            for oid in seeded:
                self._fill(connection, oid)
            self._rewind(connection)
        return True

    def _dirty(self, connection: Connection) -> list[_UsedTable]:
        """Of the tables that were empty, those that are not: asked only where there is a file at all."""
        written = connection.execute(
            "select oid::bigint from unnest(%s::oid[]) oid where pg_relation_size(oid) > 0",
            ([table.oid for table in self.empty],),
        ).fetchall()
        oids = {oid for (oid,) in written}
        candidates = [table for table in self.empty if table.oid in oids]
        if not candidates:
            return []
        statement = sql.SQL(" union all ").join(
            sql.SQL("select {} where exists (select from only {})").format(n, table.name)
            for n, table in enumerate(candidates)
        )
        return [candidates[n] for (n,) in connection.execute(statement)]

    def _dirty_seeds(self, connection: Connection, born: str) -> list[int]:
        """Of the tables with rows, those with another number of them, or with one that is newer than the database."""
        if not self.seeded:
            return []
        statement = sql.SQL(" union all ").join(
            sql.SQL("select {}, count(*), coalesce(bool_or(age(xmin) <= age({}::xid)), false) from only {}").format(
                oid, sql.Literal(born), table.name
            )
            for oid, (table, _, _) in self.seeded.items()
        )
        return [oid for oid, count, newer in connection.execute(statement) if newer or count != self.seeded[oid][1]]

    def _refreshed(self, connection: Connection, born: str) -> bool:
        """Whether a materialized view holds other rows."""
        counts = sql.SQL("select count(*), coalesce(bool_or(age(xmin) <= age({}::xid)), false) from {}")
        counted = [connection.execute(counts.format(sql.Literal(born), view.name)).fetchone() for view, _ in self.views]
        return counted != [(rows, False) for _, rows in self.views]

    def _fill(self, connection: Connection, oid: int) -> None:
        table, _, content = self.seeded[oid]
        with connection.cursor().copy(sql.SQL("copy {} from stdin").format(table.name)) as copy:
            copy.write(content)

    def _rewind(self, connection: Connection) -> None:
        now = _states(connection, [sequence for sequence, _, _ in self.sequences])
        for (sequence, value, used), state in zip(self.sequences, now, strict=True):
            if state != (value, used):
                connection.execute("select setval(%s::oid::regclass, %s, %s)", (sequence.oid, value, used))


def _named(connection: Connection, query: str) -> list[_UsedTable]:
    return [_UsedTable(oid, sql.Identifier(schema, name)) for oid, schema, name in connection.execute(query)]


def _count(connection: Connection, table: _UsedTable) -> int:
    row = connection.execute(sql.SQL("select count(*) from only {}").format(table.name)).fetchone()
    return int(row[0]) if row else 0


def _content(connection: Connection, table: _UsedTable) -> bytes:
    with connection.cursor().copy(sql.SQL("copy {} to stdout").format(table.name)) as copy:
        return b"".join(bytes(part) for part in copy)


def _states(connection: Connection, sequences: Iterable[_UsedTable]) -> list[tuple[int, bool]]:
    queries = [
        sql.SQL("select {}, last_value, is_called from {}").format(n, sequence.name)
        for n, sequence in enumerate(sequences)
    ]
    if not queries:
        return []
    return [(value, used) for _, value, used in sorted(connection.execute(sql.SQL(" union all ").join(queries)))]


def next_transaction(connection: Connection) -> str:
    """A transaction id that is newer than all that is committed, older than what comes."""
    row = connection.execute("select pg_snapshot_xmax(pg_current_snapshot())::xid::text").fetchone()
    assert row is not None
    return str(row[0])


def _definitions(connection: Connection, born: str) -> tuple[Any, ...]:
    row = connection.execute(DEFINITIONS, {"born": born}).fetchone()
    assert row is not None
    return tuple(row)
