"""Change sets (SQLite files of a case) with other content, and decisions per row out of CSV files."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from recovery.changeset.change_set import WRITES, ChangeSet
from recovery.changeset.row_change import Change
from recovery.compare.edited_csv import apply_decisions, parse_decisions
from recovery.model.row_class import Op, RowClass
from recovery.model.values import TableName
from recovery.report.repair_text import count_records, records_csv, records_text, row_records
from tests.fuzz.mutations import mutated, mutated_bytes
from tests.fuzz.target import Invocation, Target, printed
from tests.fuzz.targets.journals import CASE, cases, written

TABLE = TableName(schema_name="content", name="articles")
CELLS: tuple[Any, ...] = (
    None,
    0,
    -1,
    2**63 - 1,
    1.5,
    "",
    "x",
    "[]",
    "{}",
    "null",
    "1",
    '["1"]',
    '["1", null, "x"]',
    "[1, 2, 3]",
    "[[1]]",
    '"text"',
    "[",
    '["\\ud800"]',
    '["\\u0000"]',
    "[" * 2000,
    b"\xff\xfe",
    b"[]",
    "lost",
    "insert",
    "update",
    "conflict",
    "NaN",
    "\u202e",
    "9" * 30,
)
COLUMNS = {
    "tab": ("no", "schema", "name", "key", "columns"),
    "change": ("n", "tab", "key", "kind", "op", "target", "live", "want", "xmin", "reason"),
    "skipped": ("xid", "n", "reason"),
    "portion": ("xid", "n"),
}
DROPS = (
    "drop table tab",
    "drop table change",
    "drop table skipped",
    "alter table change drop column reason",
    "alter table tab rename column key to k",
    "delete from tab",
    "pragma user_version = 99",
)
CSV = (
    "table,key,class,op,xmin,at_target,now,reason\n"
    'content.articles,"{""id"": ""1""}",lost,keep,834,,,\ncontent.articles,"{""id"": ""2""}",conflict,update,1,,,x\n'
    'content.articles,"{""id"": ""9""}",new,delete,,,,\n'
)
CSV_TOKENS = ("table", "key", "op", "keep", "insert", "update", "delete", '"', '""', ",", "\n", "{", "}", "null", "[]")


@dataclass(frozen=True)
class Altered:
    """A change set after these statements; or, with `content`, a file with these bytes."""

    statements: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    content: bytes | None = None


@cache
def _original() -> bytes:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "c.sqlite"
        with ChangeSet(path) as changes:
            changes.add_table(TABLE, ["id"], ["id", "title"])
            changes.add_table(TableName(schema_name="ops", name="log"), [], ["a"])
            changes.add(
                [
                    Change(0, ("1",), RowClass.LOST, ("1", "a"), None, None, Op.INSERT, ("1", "a")),
                    Change(0, ("2",), RowClass.CONFLICT, ("2", "b"), ("2", None), 834, Op.KEEP, None, "x"),
                    Change(0, ("3",), RowClass.NEW, None, ("3", "한"), 835),
                    Change(0, ("4",), RowClass.REVERTED, ("4", "d"), ("4", "e"), 833, Op.UPDATE, ("4", "d")),
                    Change(1, ("a", "1"), RowClass.LOST, ("a",), None, None, Op.INSERT, ("a",)),
                ]
            )
            changes.skip(7, [(1, "why")])
        return path.read_bytes()


def _make(rng: Random) -> Altered:
    if rng.random() < 0.3:
        return Altered(content=mutated_bytes(rng, (_original(),), ("lost", "SQLite format 3", '["', "create table")))
    statements: list[tuple[str, tuple[Any, ...]]] = []
    for _ in range(rng.choice((1, 1, 2, 3))):
        table = rng.choice(("change", "change", "change", "tab", "tab", "skipped", "portion"))
        column = rng.choice(COLUMNS[table])
        if rng.random() < 0.08:
            statements.append((rng.choice(DROPS), ()))
        elif rng.random() < 0.1:
            marks = ", ".join("?" * len(COLUMNS[table]))
            values = tuple(rng.choice(CELLS) for _ in COLUMNS[table])
            statements.append((f"insert or replace into {table} values ({marks})", values))
        else:
            statements.append(
                (f"update {table} set {column} = ? where rowid % 3 = ?", (rng.choice(CELLS), rng.randrange(3)))
            )
    return Altered(tuple(statements))


def _written(data: Altered, path: Path) -> Path:
    path.write_bytes(data.content if data.content is not None else _original())
    if data.content is None:
        with closing(sqlite3.connect(path)) as db:
            for statement, values in data.statements:
                with suppress(sqlite3.Error, OverflowError):
                    db.execute(statement, values)
            db.commit()
    return path


def _act(data: Altered, directory: Path) -> None:
    path = _written(data, directory / "changes.sqlite")
    with ChangeSet(path) as changes:
        records = list(row_records(changes, [], None, changes.skipped(7)))
        printed(records_text(records))
        printed(records_csv(records))
        printed(json.dumps(records, ensure_ascii=False))
        count_records(changes, [RowClass.LOST], {})
        for shape in changes.shapes():
            changes.classes(shape.no)
            changes.planned(shape.no)
            changes.bytes_wanted(shape.no)
            _keys(changes, shape.no)
        changes.digest()
        changes.batches.skipped()


def _keys(changes: ChangeSet, no: int) -> None:
    shape = next(each for each in changes.shapes() if each.no == no)
    for kind, op, reason, _ in changes.outcomes.at_target(no):
        printed(str(changes.outcomes.keys_of(shape, kind, op, reason)))
    for change in changes.changes(no, ops=WRITES, limit=3):
        printed(str(change))


def _command(data: Altered, directory: Path) -> Invocation:
    case = written(_compared(), directory / "home" / "cases" / CASE)
    _written(data, case / "changes-1.sqlite")
    size = len(repr(data))
    verbs = (("--show", "lost"), ("--csv",), ("--show", "lost", "--json"), ("--show", "conflict", "--limit", "1"))
    if size % 5 == 4:
        return Invocation(("report", CASE, "--format", "json"))
    return Invocation(("diff", CASE, *verbs[size % 5]))


def _compared() -> Sequence[Any]:
    return cases()[2]


def _make_decisions(rng: Random) -> str:
    return mutated(rng, (CSV,), CSV_TOKENS).encode(errors="ignore").decode()


def _act_decisions(data: str, directory: Path) -> None:
    path = directory / "changes.sqlite"
    decisions = parse_decisions(data)
    shutil.rmtree(path, ignore_errors=True)
    path.write_bytes(_original())
    with ChangeSet(path) as changes:
        apply_decisions(changes, decisions)


TARGETS = (
    Target("change-sets", _make, _act, 5, _command),
    Target("decisions", _make_decisions, _act_decisions, 15),
)
