"""A database's own counters at one moment, kept so that a later look can tell what they did since."""

from __future__ import annotations

from typing import Literal

from recovery.model.values import Moment, Value

FULL = 2000  # tables in one reading


class Counted(Value):
    """One table.

    `file`: its relfilenode, which TRUNCATE, VACUUM FULL and CLUSTER replace. `rows_estimate`: the live rows, the
    planner's where the server has forgotten its counters; the rest is cumulative, and what was rolled back counts as
    well (PostgreSQL documentation 27.2).
    """

    oid: int
    file: int
    rows_estimate: int
    inserted: int
    updated: int
    deleted: int


class Reading(Value):
    """The tables of a database by their quoted names; of very many, the FULL into which most rows were put.

    `reset_at`: since when the server counts; None: ever.
    """

    schema_version: Literal[1] = 1
    at: Moment
    reset_at: Moment | None
    tables: dict[str, Counted]
