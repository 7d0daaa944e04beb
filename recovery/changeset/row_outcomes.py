"""What becomes of the rows of a change set, by reason: questions to its file, asked for the account."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from recovery.changeset.row_change import Shape, decoding, key_text, texts_of
from recovery.model.account import KEYS_SHOWN, Reason
from recovery.model.row_class import Op, RowClass

_AT_TARGET = "target is not null"
_STAYS = "kind = 'blocked' and target is null and live is not null"


class RowOutcomes:
    """The outcomes of one change set's rows."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def at_target(self, no: int) -> list[tuple[RowClass, Op, str | None, int]]:
        """Rows of one table that were there at T: by class, operation and reason, with their number."""
        rows = self._db.execute(
            f"select kind, op, reason, count(*) from change where tab = ? and {_AT_TARGET} group by 1, 2, 3",  # noqa: S608 (constants)
            (no,),
        )
        with decoding():
            return [(RowClass(kind), Op(op), reason, count) for kind, op, reason, count in rows]

    def keys_of(self, shape: Shape, kind: RowClass, op: Op, reason: str | None) -> tuple[str, ...]:
        """The keys of the first rows at T of one class, operation and reason, for people."""
        condition = f"{_AT_TARGET} and kind = ? and op = ? and reason is ?"
        return self._first_keys(shape, condition, (kind.value, op.value, reason))

    def not_deleted(self, shape: Shape) -> list[Reason]:
        """Rows of one table that T does not have and that cannot be deleted, as the plan foresees it."""
        rows = self._db.execute(
            f"select reason, count(*) from change where tab = ? and {_STAYS} group by 1",  # noqa: S608 (constants)
            (shape.no,),
        ).fetchall()
        return [
            Reason(reason=why, rows=count, keys=self._first_keys(shape, f"{_STAYS} and reason is ?", (why,)))
            for why, count in rows
        ]

    def set_aside(self, shapes: Iterable[Shape], skipped: Mapping[int, str]) -> dict[str, list[Reason]]:
        """Table → reasons, of those among the `skipped` (number → reason) that were to come back as at T."""
        return self._skipped(shapes, skipped, f"op in ('insert', 'update') and {_AT_TARGET}")

    def deletes_set_aside(self, shapes: Iterable[Shape], skipped: Mapping[int, str]) -> dict[str, list[Reason]]:
        """Table → reasons, of those among the `skipped` (number → reason) that were to be deleted."""
        return self._skipped(shapes, skipped, "op = 'delete' and target is null")

    def _first_keys(self, shape: Shape, condition: str, values: Sequence[str | None]) -> tuple[str, ...]:
        rows = self._db.execute(
            f"select key from change where tab = ? and {condition} order by n limit ?",  # noqa: S608 (constants)
            (shape.no, *values, KEYS_SHOWN),
        )
        return tuple(key_text(shape, texts_of(key) or ()) for (key,) in rows)

    def _skipped(self, shapes: Iterable[Shape], skipped: Mapping[int, str], condition: str) -> dict[str, list[Reason]]:
        reasons: dict[str, list[Reason]] = {}
        by_number = {shape.no: shape for shape in shapes}
        query = f"select tab, key from change where n = ? and {condition}"  # noqa: S608 (constants)
        for n, reason in skipped.items():
            if row := self._db.execute(query, (n,)).fetchone():
                shape = by_number[row[0]]
                key = key_text(shape, texts_of(row[1]) or ())
                reasons.setdefault(str(shape.table), []).append(Reason(reason=reason, rows=1, keys=(key,)))
        return reasons
