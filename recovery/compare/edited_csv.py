"""Decisions per row, out of the file that `rowback diff --csv` wrote and a person edited: the `op` column counts."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from recovery.changeset.change_set import ChangeSet
from recovery.changeset.row_change import Change, Shape, Texts
from recovery.errors import ErrorId, RowbackError
from recovery.model.row_class import Op, RowClass

NEEDED = {"table", "key", "op"}


@dataclass(frozen=True)
class Decision:
    """What shall become of one row. `line` is where the file says so."""

    line: int
    table: str
    key: dict[str, str]
    op: Op


def parse_decisions(text: str) -> list[Decision]:
    """Every line of the file. Raises usage with the line that cannot be read."""
    reader = csv.DictReader(io.StringIO(text))
    try:
        if not set(reader.fieldnames or ()) >= NEEDED:
            raise _unusable(1, f"the columns {', '.join(sorted(NEEDED))} are needed")
        return [_decision(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise _unusable(reader.line_num, str(error)) from error


def apply_decisions(changes: ChangeSet, decisions: Sequence[Decision]) -> None:
    """Put the decisions over what mode and policy resolved.

    Raises usage for a row that does not differ, or for an operation that its two versions do not allow.
    """
    shapes = {str(shape.table): shape for shape in changes.shapes()}
    changes.update(list(_decided(changes, shapes, decisions)))


def _decided(changes: ChangeSet, shapes: dict[str, Shape], decisions: Sequence[Decision]) -> Iterator[Change]:
    for decision in decisions:
        shape = shapes.get(decision.table)
        if shape is None or not shape.key or set(decision.key) != set(shape.key):
            raise _unusable(decision.line, f"{decision.table} {decision.key} names no row that was compared by a key")
        key = tuple(decision.key[name] for name in shape.key)
        change = changes.find(shape.no, key)
        if change is None:
            raise _unusable(decision.line, f"{decision.table} {decision.key} does not differ from T")
        if decision.op is change.op:
            continue  # a line that was left as it stood: a merge stays a merge
        kind = RowClass.LOST if decision.op is Op.INSERT else change.kind
        want = _values_to_write(decision, change)
        yield change._replace(kind=kind, op=decision.op, want=want, reason="decided by hand")


def _values_to_write(decision: Decision, change: Change) -> Texts | None:
    exists_now, existed_at_target = change.original is not None, change.target is not None
    match decision.op:
        case Op.KEEP:
            return None
        case Op.INSERT if existed_at_target and not exists_now:
            return change.target
        case Op.UPDATE if existed_at_target and exists_now:
            return change.target
        case Op.DELETE if exists_now and not existed_at_target:
            return None
    is_now = "is there now" if exists_now else "is not there now"
    was = "was there at T" if existed_at_target else "was not there at T"
    raise _unusable(decision.line, f"'{decision.op}' does not fit a row that {was} and {is_now}")


def _decision(line: int, row: dict[str, str]) -> Decision:
    try:
        key = json.loads(row["key"])
        assert isinstance(key, dict)
        return Decision(line, row["table"], {str(name): str(value) for name, value in key.items()}, Op(row["op"]))
    except (ValueError, TypeError, AssertionError, RecursionError) as error:
        raise _unusable(line, f"key {row['key']!r} or op {row['op']!r} cannot be read") from error


def _unusable(line: int, why: str) -> RowbackError:
    return RowbackError(
        ErrorId.USAGE,
        f"the decisions cannot be used: line {line}: {why}",
        state="nothing was written to the original",
        help="write the file with rowback diff CASE --csv --show conflict, and change only its op column to"
        " keep, update, insert or delete",
    )
