"""What a drill measures with: the seconds of each phase, and digests of whole tables by other means than rowback's."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from recovery.workflow.recovery_run import Listener


def digests(connection: psycopg.Connection[Any]) -> dict[str, tuple[int, str]]:
    """Count and sum of md5 over the text of every row of every table: slow, and not how rowback proves it.

    Values are taken by the names of their columns, whatever order these have.
    """
    tables = connection.execute(
        "select schemaname, tablename, array(select attname::text from pg_attribute where attnum > 0"
        "  and not attisdropped and attrelid = format('%I.%I', schemaname, tablename)::regclass order by attname)"
        " from pg_tables where schemaname !~ '^(pg_|information_schema|rowback_case_)' order by 1, 2"
    ).fetchall()
    by_table = {}
    for schema, table, columns in tables:
        row = connection.execute(
            sql.SQL(
                "select count(*), coalesce(sum(('x' || left(md5(row({})::text), 15))::bit(60)::bigint), 0)::text"
                " from {}"
            ).format(sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier(schema, table))
        ).fetchone()
        assert row
        by_table[f"{schema}.{table}"] = (row[0], row[1])
    return by_table


@dataclass
class PhaseClock:
    """Measures phases and reports them to `listener`."""

    listener: Listener
    phases: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def phase(self, name: str, title: str) -> Iterator[None]:
        """Time one phase."""
        self.listener.step_started(name, title)
        began = time.monotonic()
        finished = False
        try:
            yield
            finished = True
        finally:
            if not finished:
                self.listener.step_failed(name, "see below")
        self.phases[name] = round(time.monotonic() - began, 3)
        self.listener.step_done(name, "", self.phases[name])
