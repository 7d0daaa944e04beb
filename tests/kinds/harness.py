"""What the tests of the kinds share: play a past, a disaster and good work; recover; count with SQL of their own.

The oracle is the server's superuser, who sees every row whatever policies say, and the rows taken before the disaster.
Nothing that rowback says of itself is believed here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql

from runbooks.lab.background import pass_a_second
from tests.fix_cli import Cli, Ran, restoring
from tests.fix_lab import Database, Live

Row = tuple[Any, ...]
TABLES = """
select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and n.nspname !~ '^(pg_|information_schema|recovered_|rowback_)' order by 1
"""
RECOVERED, IN_PART, NOTHING = 0, 47, 41
LOOK_MS = 60_000


def in_order(rows: Collection[Row]) -> list[Row]:
    """Rows as a list that can be compared; equal rows count each."""
    return sorted(rows, key=repr)


def has_rows(line: str, rows: int) -> bool:
    """Whether a line tells this number of rows, and not one that only ends in the same digits."""
    return re.search(rf"(?<![\d,]){rows:,} row", line) is not None


@dataclass
class World:
    """One database, what it held before the disaster, and what rowback said of it."""

    cli: Cli
    database: Database
    held: dict[str, list[Row]] = field(default_factory=dict)
    ran: Ran = field(default_factory=lambda: Ran(-1, "", ""))
    _target: datetime | None = None
    _seen: int = 0

    @property
    def target(self) -> datetime:
        assert self._target, "past() comes first"
        return self._target

    # the past, the disaster, and the work of others

    def past(self, *statements: str, and_then: Collection[str] = ()) -> None:
        """Everything up to T: built in one transaction, looked at, and a second later. What is done `and_then`, each
        statement on its own, belongs to T but is not looked at."""
        self._seen = len(self.copies())
        self.good(*statements)
        self.held = {name: self.rows(name) for name in self.tables()}
        self.database.run(*and_then)
        self._target = pass_a_second()

    def good(self, *statements: str) -> None:
        """Work in one transaction that has to stay as it is."""
        with self.database.connect() as connection, connection.transaction():
            for statement in statements:
                connection.execute(statement)

    def incident(self, *statements: str) -> int:
        """The disaster in one transaction; returns its top-level id as logs show it."""
        with self.database.connect() as connection, connection.transaction():
            for statement in statements:
                connection.execute(statement)
            row = connection.execute("select pg_current_xact_id()::text::bigint").fetchone()
        assert row
        return int(row[0])

    # looking at it, as nobody whom policies or privileges stop

    def look(self, query: str) -> list[Row]:
        """The rows of a query, as the server's superuser over its socket."""
        live = self.database.live
        dsn = live.lab.engine.instances[live.identifier].cluster.dsn(self.database.name)
        with psycopg.connect(dsn, autocommit=True, options=f"-c statement_timeout={LOOK_MS}") as connection:
            return connection.execute(query).fetchall()

    def tables(self) -> list[str]:
        return [name.decode() if isinstance(name, bytes) else name for (name,) in self.look(TABLES)]

    def rows(self, table: str) -> list[Row]:
        return in_order(self.look(f"select * from only {table}"))

    def without(self, table: str, *keys: object) -> list[Row]:
        """The rows at T less those of these keys (first column); each of them was there."""
        assert set(keys) <= {row[0] for row in self.held[table]}
        return [row for row in self.held[table] if row[0] not in keys]

    def holds(self, table: str, rows: Collection[Row]) -> None:
        """The table holds exactly these rows now."""
        assert self.rows(table) == in_order(rows), f"{table} after:\n{self.ran.out}{self.ran.err}"

    def as_before(self, *tables: str) -> None:
        """These tables hold exactly what they held before the disaster."""
        for table in tables:
            self.holds(table, self.held[table])

    # rowback

    def copies(self) -> list[str]:
        """Copies that were ever made: those that exist, and those that events tell of."""
        engine = self.database.live.lab.engine
        told = {event.source for event in engine.events if event.source.startswith("rowback-")}
        return sorted(told | {name for name in engine.instances if name.startswith("rowback-")})

    def no_copy_was_made(self) -> None:
        assert len(self.copies()) == self._seen, "a copy was made before this was said"

    def run(self, *arguments: str, **environment: str) -> Ran:
        """A command, remembered as the last one."""
        self.ran = self.cli(*arguments, **environment)
        return self.ran

    def arguments(self, *extra: str) -> list[str]:
        """Arguments of `restore` for this database and T."""
        return restoring(self.cli, self.database, self.target, *extra)

    def at(self, *extra: str) -> list[str]:
        """The same for `plan` and `open`, which ask for no confirmation."""
        return [*restoring(self.cli, self.database, self.target)[1:-2], *extra]

    def restore(self, *extra: str, code: int | tuple[int, ...] = RECOVERED, **environment: str) -> Ran:
        """`restore`, with the code it must end with, and what has to be true of any end."""
        ran = self.run(*self.arguments(*extra), **environment)
        codes = code if isinstance(code, tuple) else (code,)
        assert ran.code in codes, f"exit {ran.code}, not {codes}:\n{ran.out}{ran.err}"
        if ran.code == IN_PART:
            self._in_part()
        elif ran.code == RECOVERED:
            assert ("stands beside" if "beside" in extra else "is back as of") in headline(ran)
            assert self.report()["copy_removed"] is True
        if ran.code in (RECOVERED, IN_PART) and "beside" not in extra:
            assert self.account(), "what was written has an account"
        return ran

    def _in_part(self) -> None:
        assert "is recovered in part" in headline(self.ran)
        assert "error[recovered-in-part]: " in self.ran.err
        assert "  help: " in self.ran.err
        assert f"rowback-{self.case}" in self.database.live.lab.engine.instances, "the case stays open with its copy"

    @property
    def case(self) -> str:
        """The only case of this test."""
        (found,) = json.loads(self.cli("cases", "--json").out)
        return str(found["case"])

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.cli("report", self.case, "--json").out)
        return found

    def account(self) -> dict[str, dict[str, Any]]:
        """The account by table; in every table each row at T is in exactly one place."""
        entries: dict[str, dict[str, Any]] = {entry["table"]: entry for entry in self.report()["account"]}
        for table, entry in entries.items():
            settled = entry["back"] + entry["never_gone"] + entry["kept_newer"]
            assert settled + not_back(entry) == entry["at_target"], f"{table} does not add up: {entry}"
        return entries

    def counts(self, table: str, *, back: int, lost: int = 0) -> None:
        """The account says of this table: so many rows back, so many not."""
        entry = self.account()[table]
        assert (entry["back"], not_back(entry)) == (back, lost), entry

    # what was told

    def said(self, *words: str, rows: int | None = None) -> None:
        """One line of the result has all these words, and so has one of `report CASE`."""
        for where, text in (("result", self.ran.out), ("report", self.cli("report", self.case).out)):
            found = [
                line
                for line in text.splitlines()
                if all(word in line for word in words) and (rows is None or has_rows(line, rows))
            ]
            assert found, f"no line of the {where} tells {words} {rows}:\n{text}"

    def told(self, table: str, rows: int, *words: str) -> None:
        """These rows are told as not back, and no headline can be read as if all were."""
        self.said(table, *words, rows=rows)
        assert "is back as of" not in headline(self.ran)
        assert "is back as of" not in headline(self.cli("report", self.case))

    def told_keys(self, *keys: int) -> None:
        """Each of these keys stands in the result and in the report."""
        for text in (self.ran.out, self.cli("report", self.case).out):
            for key in keys:
                assert re.search(rf"(?<!\d){key}(?!\d)", text), f"key {key} is not told:\n{text}"


def headline(ran: Ran) -> str:
    return next((line for line in ran.out.splitlines() if line.strip()), "")


def not_back(entry: dict[str, Any]) -> int:
    """Rows of one table's account that are lost still."""
    reasons = [*entry["blocked"], *entry["left_out"]]
    assert all(reason["rows"] > 0 and reason["reason"] for reason in reasons), entry
    return int(entry["conflict"] + sum(reason["rows"] for reason in reasons))


@contextmanager
def database_made(live: Live, name: str, options: str) -> Iterator[Database]:
    """A database that is made with options of its own; it goes at the end."""
    with live.connect() as server:
        server.execute(sql.SQL("create database {} {}").format(sql.Identifier(name), sql.SQL(options)))
    try:
        yield Database(live, name)
    finally:
        with live.connect() as server:
            server.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))
