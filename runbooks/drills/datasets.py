"""What a drill breaks and repairs: data sets, and the incidents that may befall them among good writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import psycopg

from recovery.model.modes.reload_mode import Mode
from runbooks.lab.background import FAULTS
from runbooks.lab.lab_cluster import LabError
from runbooks.lab.sample_data import load_docs


class FaultKind(StrEnum):
    """The ways data is lost by a careless statement."""

    TRUNCATE = "truncate"
    BAD_DELETE = "bad-delete"
    BAD_UPDATE = "bad-update"
    DROP_COLUMN = "drop-column"
    DROP_TABLE = "drop-table"
    DROP_SCHEMA = "drop-schema"


@dataclass(frozen=True)
class Fault:
    """One incident: what runs in one transaction, which tables are named to rowback, and how they are repaired.

    `writers_go_on`: the tables that users write to afterwards are there, with rows.
    """

    statements: tuple[str, ...]
    tables: tuple[str, ...]
    mode: Mode
    summary: str
    writers_go_on: bool = True


@dataclass(frozen=True)
class Dataset:
    """A database to break. `good` is what its users write after the incident; it must survive the recovery."""

    name: str
    database: str
    schema: str
    load: Callable[[psycopg.Connection[Any]], object]
    faults: Mapping[FaultKind, Fault]
    good: tuple[str, ...]


def documents(*, articles: int, seed: int) -> Dataset:
    """The lab's documents product: cascades, SET NULL, cycles, triggers."""
    return Dataset(
        "documents",
        "docs",
        "content",
        lambda connection: load_docs(connection, articles=articles, seed=seed),
        {
            FaultKind.TRUNCATE: Fault(
                FAULTS["truncate"],
                ("content.members", "content.spaces"),
                Mode.MISSING,
                "an integration test runs TRUNCATE … CASCADE on the wrong server",
                writers_go_on=False,
            ),
            FaultKind.BAD_DELETE: Fault(
                FAULTS["bad-delete"],
                ("content.spaces",),
                Mode.REPAIR,
                "a clean-up job deletes a third of the spaces, and all that hangs on them",
            ),
            FaultKind.BAD_UPDATE: Fault(
                FAULTS["bad-update"],
                ("content.articles",),
                Mode.REPAIR,
                "a migration archives every second article",
            ),
            FaultKind.DROP_COLUMN: Fault(
                ("alter table content.articles drop column title cascade", "alter table content.tags drop column name"),
                ("content.articles", "content.tags"),
                Mode.RECREATE,
                "a migration drops two columns, and with them what was computed of them",
                writers_go_on=False,
            ),
            FaultKind.DROP_TABLE: Fault(
                ("drop table content.spaces cascade",),
                ("content.spaces",),
                Mode.RECREATE,
                "a migration drops a table with CASCADE, and with it the keys of others",
            ),
            FaultKind.DROP_SCHEMA: Fault(
                ("drop schema content cascade",),
                ("content.*",),
                Mode.RECREATE,
                "a clean-up script drops the schema with all that is in it",
                writers_go_on=False,
            ),
        },
        (
            "insert into content.tags (name) values ('written after the incident')",
            "update content.tags set name = 'renamed after the incident' where tag_id = 1",
        ),
    )


def chinook(script: Path) -> Dataset:
    """The Chinook music shop, from its own script; keys without cascades. Raises LabError when it cannot be read."""
    try:
        text = script.read_text()
    except OSError as error:
        raise LabError(f"{script} cannot be read: {error.strerror}") from error
    body = text.partition("\\c chinook;")[2] or text
    return Dataset(
        "chinook",
        "chinook",
        "public",
        lambda connection: connection.execute(body),
        {
            FaultKind.TRUNCATE: Fault(
                ("truncate customer, playlist cascade",),
                ("customer", "playlist"),
                Mode.MISSING,
                "a test empties customers and playlists, with all that hangs on them",
                writers_go_on=False,
            ),
            FaultKind.BAD_DELETE: Fault(
                ("delete from invoice_line where invoice_id % 3 = 0", "delete from invoice where invoice_id % 3 = 0"),
                ("invoice",),
                Mode.MISSING,
                "a job deletes a third of the invoices with their lines",
            ),
            FaultKind.BAD_UPDATE: Fault(
                ("update track set unit_price = 0, composer = null where genre_id = 1",),
                ("track",),
                Mode.REPAIR,
                "an import zeroes the price of every rock track",
            ),
            FaultKind.DROP_COLUMN: Fault(
                ("alter table track drop column unit_price, drop column album_id",),
                ("track",),
                Mode.RECREATE,
                "a migration drops the prices, and the column that leads to the albums",
            ),
            FaultKind.DROP_TABLE: Fault(
                ("drop table album cascade",), ("album",), Mode.RECREATE, "a migration drops the albums with CASCADE"
            ),
        },
        (
            "insert into artist values (9001, 'Later')",
            "update employee set title = 'promoted after the incident' where employee_id = 3",
        ),
    )


def rows(count: int) -> Dataset:
    """One table of `count` rows and eight columns, about 130 bytes each: the size of sources: ROWS-lineage."""

    def load(connection: psycopg.Connection[Any]) -> None:
        connection.execute(
            "create table t (id bigint primary key, n int not null, title text, created timestamptz not null,"
            " updated timestamptz not null, amount numeric(12, 2), body text, meta jsonb)"
        )
        connection.execute(
            "insert into t select g, g %% 1000, 'title ' || g, timestamptz '2026-01-01Z' + g * interval '1 second',"
            " timestamptz '2026-01-01Z' + g * interval '1 second', g * 0.01, md5(g::text),"
            " jsonb_build_object('views', g %% 100) from generate_series(1, %s::bigint) g",
            (count,),
        )
        connection.execute("vacuum analyze t")

    return Dataset(
        "rows",
        "big",
        "public",
        load,
        {
            FaultKind.TRUNCATE: Fault(
                ("truncate t",), ("t",), Mode.MISSING, "a test truncates the table", writers_go_on=False
            ),
            FaultKind.BAD_DELETE: Fault(
                ("delete from t where id % 20 = 0",), ("t",), Mode.MISSING, "a job deletes every twentieth row"
            ),
            FaultKind.BAD_UPDATE: Fault(
                ("update t set amount = 0 where n < 50",), ("t",), Mode.REPAIR, "a script zeroes one amount in twenty"
            ),
            FaultKind.DROP_COLUMN: Fault(
                ("alter table t drop column body",),
                ("t",),
                Mode.RECREATE,
                "a migration drops a column",
                writers_go_on=False,
            ),
            FaultKind.DROP_TABLE: Fault(
                ("drop table t",), ("t",), Mode.RECREATE, "a migration drops the table", writers_go_on=False
            ),
        },
        (
            "insert into t values (0, 0, 'later', '2026-11-22Z', '2026-11-22Z', 1, 'x', '{}')",
            "update t set title = 'edited after the incident' where id = 51",
        ),
    )
