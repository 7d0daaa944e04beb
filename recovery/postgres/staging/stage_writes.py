"""What a stage does to its table: inserts, updates, deletes. Rows that were marked are left alone.

Rows are recognized afterwards by the id of the one transaction that wrote them, and a savepoint has an id of its own.
So
what the server might refuse is tried behind a savepoint that is rolled back (`try_first`), and then done outside of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from psycopg import sql

from recovery.postgres.isolate_bad_rows import try_rows
from recovery.postgres.staging.stage import Stage
from recovery.postgres.staging.stage_query import StagedOp

ALL: sql.Composable = sql.SQL("true")


class Write(Protocol):
    """One kind of write of a stage: of all its rows, or of those for which a condition holds; how many it wrote."""

    def __call__(self, stage: Stage, which: sql.Composable = ...) -> int:
        """Write the staged rows that fit `which`; how many were written."""


def delete(stage: Stage, which: sql.Composable = ALL) -> int:
    """Delete the planned rows."""
    if not stage.ops[StagedOp.DELETE]:
        return 0
    same = stage.sql("{same}") if stage.table.key else stage.equal_rows()
    return stage.run(
        "delete from {original} t using {name} s where s.{op} = {delete} and s.{skip} is null and {found}"
        " and t.xmin = s.{xmin} and {which}",
        found=same,
        which=which,
    )


def update_early(stage: Stage, which: sql.Composable = ALL) -> int:
    """Give the rows that come before the deletes their new values."""
    return _update(stage, stage.sql("s.{early} and {which}", which=which))


def update(stage: Stage, which: sql.Composable = ALL) -> int:
    """Give the other planned rows their new values."""
    return _update(stage, stage.sql("not s.{early} and {which}", which=which))


def _update(stage: Stage, which: sql.Composable) -> int:
    """Only columns in which some row changes are set.

    Of an equal key that is printed differently, the key as well; rows whose GENERATED ALWAYS identity would change are
    marked before.
    """
    changed = [f for f in stage.fields if f.name in stage.changing and f.column.identity != "a"]
    if (
        not stage.ops[StagedOp.UPDATE] or not changed or not stage.table.key
    ):  # without a key a changed row is a lost one and a new one
        return 0
    setting = sql.SQL(", ").join(sql.SQL("{0} = s.{0}").format(sql.Identifier(field.name)) for field in changed)
    return stage.run(
        "update {original} t set {setting} from {name} s where s.{op} = {update} and s.{skip} is null and {same}"
        " and t.xmin = s.{xmin} and {which}",
        setting=setting,
        which=which,
    )


def insert(stage: Stage, which: sql.Composable = ALL) -> int:
    """Insert the planned rows with the identity values they had."""
    if not stage.ops[StagedOp.INSERT]:
        return 0
    names = [sql.Identifier(field.name) for field in stage.fields if not field.column.generated]
    columns = sql.SQL(", ").join(names)
    into = sql.SQL("({}) overriding system value").format(columns) if names else sql.SQL("")
    return stage.run(
        "insert into {table} {into} select {columns} from {name} s where {op} = {insert} and {skip} is null and {which}"
        " order by {n}",
        into=into,
        columns=columns,
        which=which,
    )


_OPERATIONS: dict[Write, StagedOp] = {
    insert: StagedOp.INSERT,
    update: StagedOp.UPDATE,
    update_early: StagedOp.UPDATE,
    delete: StagedOp.DELETE,
}


def planned(stage: Stage, write: Write) -> list[int]:
    """The numbers of the rows that a write is about."""
    return stage.numbers(stage.sql("s.{op} = {wanted}", wanted=sql.Literal(_OPERATIONS[write].value)))


def try_first(stage: Stage, write: Write, numbers: Sequence[int]) -> list[int]:
    """Do the write of these rows and take it back, row by row where the server refuses.

    Rows that it refuses are skipped from now on, and returned.
    """

    def attempt(part: Sequence[int]) -> None:
        with stage.session.transaction(force_rollback=True):
            write(stage, stage.among(part))

    try_rows(stage.session, numbers, attempt, stage.set_aside)
    unwritten = set(stage.numbers(stage.among(numbers)))
    return [n for n in numbers if n not in unwritten]
