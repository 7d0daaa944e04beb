"""Foreign keys checked in sets: rows without their parent, and the locks that keep parents from leaving."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from recovery.model.catalog import ForeignKey
from recovery.postgres.connect import Session, one
from recovery.postgres.row_versions import written_by


def dangling_references(original: Session, key: ForeignKey, *, only: Sequence[int] = ()) -> int:
    """How many child rows, or those of them that the transactions `only` wrote, reference no parent, by anti-join.

    Replica mode never re-checks by itself.
    """
    child, parent = sql.Identifier(*key.child.key), sql.Identifier(*key.parent.key)
    filled = sql.SQL(" and ").join(sql.SQL("{} is not null").format(sql.Identifier("c", n)) for n in key.columns)
    # A partitioned parent has no rows of its own; any other must not lend its inheritance children's.
    alone = sql.SQL("only ") if key.parent_tables == (key.parent,) else sql.SQL("")
    ours = written_by(only, row="c") if only else sql.SQL("true")
    count: int = one(
        original,
        sql.SQL("select count(*) from only {} c where {} and {} and not exists (select from {}{} p where {})").format(
            child, ours, filled, alone, parent, _references(key)
        ),
    )
    return count


def need_their_triggers(original: Session, tables: Sequence[int]) -> bool:
    """Whether constraints of `tables` (oids) hold by triggers in a way that no single statement here asks.

    Keys that are deferrable, though unique, and foreign keys with MATCH FULL or over periods.
    """
    query = (
        "select exists (select from pg_constraint c where c.conrelid = any(%s) and"
        " (c.contype in ('p', 'u', 'x') and c.condeferrable"
        "  or c.contype = 'f' and (c.confmatchtype = 'f' or pg_get_constraintdef(c.oid) ~ ' PERIOD ')))"
    )
    return bool(one(original, query, (list(tables),)))


def may_lock_parents(original: Session, key: ForeignKey) -> bool:
    """Whether this role may lock rows of the table that a key references."""
    name = sql.Identifier(*key.parent.key).as_string(original)
    query = "select has_table_privilege(%s, 'select') and has_table_privilege(%s, 'update')"
    return bool(one(original, query, (name, name)))


def lock_parents(original: Session, key: ForeignKey) -> None:
    """Lock the parents that the rows of `key.child` reference, as the server does it row by row (FOR KEY SHARE).

    They can be written to, not deleted, until the transaction ends. Ask for dangling references afterwards: a parent
    that left before is none.
    """
    child, parent = sql.Identifier(*key.child.key), sql.Identifier(*key.parent.key)
    alone = sql.SQL("only ") if key.parent_tables == (key.parent,) else sql.SQL("")
    original.execute(
        sql.SQL(
            "select count(*) from (select from {}{} p where exists (select from only {} c where {})"
            " for key share of p) q"
        ).format(alone, parent, child, _references(key))
    )


def _references(key: ForeignKey) -> sql.Composable:
    """Whether the child `c` references the parent `p`, by the constraint's own operators."""
    return sql.SQL(" and ").join(
        # With pg_catalog first, `=` on citext would compare as text.
        sql.SQL("{} operator({}.{}) {}").format(
            sql.Identifier("p", name), sql.Identifier(schema), sql.SQL(operator), sql.Identifier("c", column)
        )
        for column, name, (schema, operator) in zip(key.columns, key.parent_columns, key.operators, strict=True)
    )
