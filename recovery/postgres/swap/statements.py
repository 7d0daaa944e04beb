"""The statements that carry over what depends on a table, as the server itself prints them."""

from __future__ import annotations

from collections.abc import Collection

from psycopg import sql

from recovery.model.values import TableName, Value
from recovery.postgres.connect import Session
from recovery.postgres.swap.phase import SwapPhase
from recovery.postgres.swap.statement_sources import GRANTS, SOURCES, TABLES
from recovery.postgres.trusted_sql import trusted_sql

_TABLESPACES = """
select n.nspname, t.relname, i.relname, s.spcname from pg_index x join pg_class i on i.oid = x.indexrelid
join pg_class t on t.oid = x.indrelid join pg_namespace n on n.oid = t.relnamespace
join pg_tablespace s on s.oid = i.reltablespace
where n.nspname = any(%(schemas)s) and t.relname = any(%(names)s)
"""


class SwapStatement(Value):
    """One statement. `unit`: the index or constraint that it is about. `tablespace`: where an index is put."""

    table: TableName
    phase: SwapPhase
    unit: str
    text: str
    tablespace: str = ""

    @property
    def sql(self) -> sql.SQL:
        """The statement, to be executed."""
        return trusted_sql(self.text)


def statements_of(original: Session, tables: Collection[TableName], *, hidden: str, old: str) -> list[SwapStatement]:
    """Every statement that carries over what depends on `tables`, within each phase in the order of execution.

    `hidden`: the schema of the new tables until the exchange; `old`: that of the old ones in its transaction. `!`
    stands where the server prints a definition otherwise than expected: no statement then, but a syntax error.
    """
    parameters = {
        "schemas": [name.schema_name for name in tables],
        "names": [name.name for name in tables],
        "hidden": hidden,
        "old": old,
    }
    tablespaces = {(s, t, i): space for s, t, i, space in original.execute(_TABLESPACES, parameters).fetchall()}
    printed = [
        (phase, *row)
        for phase, query in SOURCES
        for row in sorted(original.execute(trusted_sql(TABLES + query), parameters).fetchall())
    ]
    printed += [(SwapPhase.AFTER, *row) for row in original.execute(trusted_sql(GRANTS), parameters).fetchall()]
    return [
        SwapStatement(
            table=TableName(schema_name=schema, name=name),
            phase=phase,
            unit=unit,
            text=text,
            tablespace=tablespaces.get((schema, name, unit), ""),
        )
        for phase, schema, name, unit, text in printed
    ]
