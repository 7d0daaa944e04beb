"""Planned rows in a temporary table beside the table they are for, with the types below the original's domains.

Everything that can be said about a planned row before it is written is said here, by the server: its live row changed,
a key is taken, a check fails, its parent is missing, another row still references it. Rows so marked are skipped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack

from psycopg import Cursor, sql

from recovery.model.catalog import Table
from recovery.model.repair_plan import ImagesDigest
from recovery.postgres.connect import Session, one
from recovery.postgres.staging.stage_query import WRITES, StagedOp, StageQuery


class Stage(StageQuery):
    """A temporary table for the planned rows of `table`, in the transaction of `session`.

    `ops`: rows by why they are staged. `marks`: how often rows were marked. `changing`: columns that updates change.
    `lifted`: names of NOT VALID constraints that are away meanwhile. `images`, `kept`: the before-images and their
    digest. `oversized`: (row, column) of values that the server cannot take as text.
    """

    def __init__(self, session: Session, table: Table, columns: Sequence[str], no: int) -> None:
        super().__init__(table, columns, no)
        self.session = session
        self.images: sql.Identifier = sql.Identifier(self.relation)
        self.kept = ImagesDigest()
        self.ops: Counter[StagedOp] = Counter()
        self.marks = 0
        self.changing: frozenset[str] = frozenset()
        self.lifted: frozenset[str] = frozenset()
        self.oversized: list[tuple[int, str]] = []

    @property
    def writes(self) -> bool:
        """Whether anything is planned for the table itself."""
        return any(self.ops[op] for op in WRITES)

    def skipped(self) -> Iterator[tuple[int, str]]:
        """(n, reason) of every row that will not be written."""
        if not self.marks:
            return
        yield from self.session.execute(
            self.sql("select {n}, {skip} from {name} where {skip} is not null and {op} in ({writes}) order by 1")
        )

    def numbers(self, condition: sql.Composable) -> list[int]:
        """The rows still to be written for which a condition holds, in their order."""
        rows = self.session.execute(
            self.sql("select {n} from {name} s where {skip} is null and {which} order by {n}", which=condition)
        )
        return [row[0] for row in rows]

    def set_aside(self, numbers: Sequence[int], words: str) -> None:
        """Skip some rows, for a reason."""
        self.mark(
            "update {name} set {skip} = {why} where {n} = any({numbers})",
            why=sql.Literal(words),
            numbers=sql.Literal(list(numbers)),
        )

    def reopen(self, numbers: Sequence[int]) -> None:
        """Rows that were set aside are to be written after all."""
        self.run("update {name} s set {skip} = null where {which}", which=self.among(numbers))

    def count(self, op: StagedOp) -> int:
        """Rows of one operation that will be written."""
        return int(
            one(
                self.session,
                self.sql(
                    "select count(*) from {name} where {op} = {wanted} and {skip} is null", wanted=sql.Literal(op.value)
                ),
            )
        )

    def mark(self, text: str, **parts: sql.Composable) -> int:
        """Execute a template of `sql` that marks rows to be skipped; how many."""
        marked = self.run(text, **parts)
        self.marks += marked
        return marked

    def run(self, text: str, **parts: sql.Composable) -> int:
        """Execute a template of `sql`; how many rows it touched."""
        return self.session.execute(self.sql(text, **parts)).rowcount


def mark_at_once(markings: Iterable[tuple[Stage, sql.Composed]]) -> int:
    """Execute statements that mark rows to be skipped, one after the other but without waiting for each answer.

    A round trip for each of thousands of tables would be spent under the lock. Returns how many rows they marked.
    """
    sent: list[tuple[Stage, Cursor[tuple[object, ...]]]] = []
    with ExitStack() as opened:
        for stage, text in markings:
            if not sent:
                opened.enter_context(stage.session.pipeline())
            sent.append((stage, stage.session.execute(text)))
    for stage, cursor in sent:
        stage.marks += cursor.rowcount
    return sum(cursor.rowcount for _, cursor in sent)
