"""What a stage says of its table once the rows are written, while everything is still locked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from recovery.model.catalog import ForeignKey
from recovery.postgres.comparison.table_scan import fields_hash
from recovery.postgres.connect import one
from recovery.postgres.row_versions import written_by
from recovery.postgres.staging.stage import Stage
from recovery.postgres.staging.stage_query import WRITES, refers

Hash = tuple[int, str]


@dataclass(frozen=True)
class Proof:
    """What was to be inserted, updated and deleted; rows to be written and their checksum.

    The same of the rows of the live table that our transaction wrote.
    """

    counts: tuple[int, int, int]
    planned: Hash
    written: Hash


def prove_rows(stages: Sequence[Stage], xid: int) -> list[Proof]:
    """Run one statement for each stage, all in one pipeline."""
    if not stages:
        return []
    session = stages[0].session
    with session.pipeline():
        sent = [session.execute(_proving(stage, xid)) for stage in stages]
        rows = [row for cursor in sent for row in cursor]
    return [Proof(row[:3], (row[3], row[4]), (row[5], row[6])) for row in rows]


def _proving(stage: Stage, xid: int) -> sql.Composed:
    counts = sql.SQL(", ").join(
        stage.sql("count(*) filter (where {op} = {wanted})", wanted=sql.Literal(op.value)) for op in WRITES
    )
    total = sql.SQL("coalesce(sum({}), 0)::text").format(fields_hash(stage.fields, stage.session))
    return stage.sql(
        "select p.*, q.*, w.* from (select {counts} from {name} where {skip} is null) p,"
        " (select count(*), {total} from {name} where {op} in ({puts}) and {skip} is null) q (rows, total),"
        " (select count(*), {total} from {original} where {ours}) w (rows, total)",
        counts=counts,
        total=total,
        ours=written_by([xid]),
    )


def dangling(stage: Stage, key: ForeignKey, parents: Sequence[Stage]) -> int:
    """Rows just written with a reference they did not have whose parent is missing: replica mode never looks.

    Where the key is away meanwhile, only those that had a parent at T count.
    """
    filled = sql.SQL(" and ").join(sql.SQL("s.{} is not null").format(sql.Identifier(c)) for c in key.columns)
    only = sql.SQL("only ") if key.parent_tables == (key.parent,) else sql.SQL("")
    return _count(
        stage,
        "select count(*) from {name} s where s.{skip} is null and {filled} and (s.{op} = {insert} or s.{op} = {update}"
        " and exists (select from {images} b where b.{n} = s.{n} and ({changes})))"
        " and not exists (select from {only}{parent} p where {equal}) and {had}",
        had=stage.had_parent(key, parents) if key.name in stage.lifted else sql.SQL("true"),
        filled=filled,
        only=only,
        parent=sql.Identifier(*key.parent.key),
        equal=refers(key, "s", "p"),
        images=stage.images,
        changes=sql.SQL(" or ").join(
            sql.SQL("b.{0} is distinct from s.{0}").format(sql.Identifier(column)) for column in key.columns
        ),
    )


def left_behind(stage: Stage, key: ForeignKey) -> int:
    """Live rows that still reference a row just deleted."""
    return _count(
        stage,
        "select count(*) from only {child} c where exists"
        " (select from {name} s where s.{op} = {delete} and s.{skip} is null and {equal})",
        child=sql.Identifier(*key.child.key),
        equal=refers(key, "c", "s"),
    )


def _count(stage: Stage, text: str, **parts: sql.Composable) -> int:
    return int(one(stage.session, stage.sql(text, **parts)))
