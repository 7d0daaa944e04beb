"""What the copy answered once: it stands still, so a second diff need not scan it again."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from psycopg import sql

from recovery.postgres.comparison.table_scan import Values, stream
from recovery.postgres.connect import Session


class Remembered:
    """Answers by the text of the statement, in a file of the case. Only whole answers are kept."""

    def __init__(self, path: Path) -> None:
        path.touch(mode=0o600)
        self._db = sqlite3.connect(path)
        self._db.executescript(
            "create table if not exists asked (no integer primary key, statement text unique);"
            "create table if not exists answer (no integer, n integer, row text, primary key (no, n)) without rowid;"
        )

    def __enter__(self) -> Remembered:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drop what was not read to its end."""
        self._db.close()

    def ask(self, copy: Session, statement: sql.Composed) -> Iterator[Values]:
        """The rows of the statement on the copy, from memory when it was asked before."""
        text = statement.as_string(copy)
        cached = self._db.execute("select no from asked where statement = ?", (text,)).fetchone()
        return self._recall(cached[0]) if cached else self._learn(text, stream(copy, statement))

    def _recall(self, no: int) -> Iterator[Values]:
        for (row,) in self._db.execute("select row from answer where no = ? order by n", (no,)):
            yield tuple(json.loads(row))

    def _learn(self, text: str, rows: Iterator[Values]) -> Iterator[Values]:
        (no,) = self._db.execute("select coalesce(max(no), 0) + 1 from answer").fetchone()
        for n, row in enumerate(rows):
            self._db.execute("insert into answer values (?, ?, ?)", (no, n, json.dumps(row)))
            yield row
        self._db.execute("insert into asked (no, statement) values (?, ?)", (no, text))
        self._db.commit()
