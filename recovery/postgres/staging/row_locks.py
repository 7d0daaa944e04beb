"""Lock the rows that are to go, so that no child comes to one of them unseen.

A session that is inserting a child holds its parent's row. Without these locks the child could come between the
question who references a row and the delete, whose action (SET NULL, CASCADE) would reach it. Waiting for such
sessions could go on for ever, because each new one is let in, and could end in a deadlock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from psycopg import sql

from recovery.postgres.connect import one
from recovery.postgres.staging.stage import Stage
from recovery.postgres.staging.stage_query import StagedOp

IN_USE = "another session holds it, and may be referencing it"


def releases(stage: Stage, columns: Sequence[str]) -> bool:
    """Whether the stage deletes rows, or updates `columns`, by which a foreign key references the table."""
    return bool(stage.ops[StagedOp.DELETE] or (stage.ops[StagedOp.UPDATE] and not set(columns) <= set(stage.table.key)))


def lock_rows(stage: Stage, referenced: Iterable[Sequence[str]]) -> list[int]:
    """Lock the rows that are to be deleted, or whose referenced columns are to change, without waiting.

    `referenced`: the columns of each foreign key that references the table. Returns the numbers of the rows that
    another session has locked. Locking takes the UPDATE privilege; for a role with DELETE alone, only the load's
    proof notices a new child.
    """
    if not one(stage.session, "select has_any_column_privilege(%s::oid, 'UPDATE')", (stage.table.oid,)):
        return []
    held = _lock_deletes(stage)
    for columns in set(map(tuple, referenced)):
        if not set(columns) <= set(stage.table.key):
            held += _lock_rekeyed(stage, columns)
    return held


def _lock_deletes(stage: Stage) -> list[int]:
    return _lock(stage, stage.sql("s.{op} = {delete}")) if stage.ops[StagedOp.DELETE] else []


def _lock_rekeyed(stage: Stage, columns: Sequence[str]) -> list[int]:
    if not stage.ops[StagedOp.UPDATE] or not stage.table.key:
        return []
    changes = (sql.SQL("t.{0} is distinct from s.{0}").format(sql.Identifier(name)) for name in columns)
    return _lock(stage, stage.sql("s.{op} = {update} and ({changes})", changes=sql.SQL(" or ").join(changes)))


def _lock(stage: Stage, which: sql.Composable) -> list[int]:
    rows = stage.sql(
        "select s.{n} from {name} s join {original} t on {joined} where s.{skip} is null and {which}",
        joined=stage.same("t", "s") if stage.table.key else stage.equal_rows(),
        which=which,
    )
    counted = sql.SQL(
        "select (select count(distinct n) from ({rows} for update of t skip locked) q (n)), count(distinct n)"
        " from ({rows}) q (n)"
    ).format(rows=rows)
    locked, wanted = stage.session.execute(counted).fetchone() or (0, 0)
    if locked == wanted:
        return []
    held = {n for (n,) in stage.session.execute(rows + sql.SQL(" for update of t skip locked"))}
    return sorted({n for (n,) in stage.session.execute(rows)} - held)
