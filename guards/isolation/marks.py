"""Our databases bear the guard's mark: they are proven disposable to every process, and tell who made them and when."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from guards.isolation.server import Server
from guards.marker import Marker, as_comment, in_seconds, read_marker

PREFIX = "rowback_"
KEPT = "kept: "
BOOT = Path("/proc/sys/kernel/random/boot_id")


def maker() -> str:
    """This process, among all that ever ran on this machine."""
    boot = BOOT.read_text()[:8] if BOOT.exists() else "?"
    return f"isolation {boot} {os.getpid()}"


def mark(admin: psycopg.Connection[Any], server: Server, name: str, *, reason: str, seconds: float) -> int:
    """Mark database `name` as disposable for so long; its oid."""
    row = admin.execute("select oid::bigint from pg_database where datname = %s", (name,)).fetchone()
    assert row is not None  # it was made a moment ago, by us
    marker = Marker(
        "disposable", server.known.evidence.identity.system_identifier, int(row[0]), by=maker(), reason=reason,
        until=in_seconds(seconds),
    )  # fmt: skip
    admin.execute(sql.SQL("comment on database {} is {}").format(sql.Identifier(name), sql.Literal(as_comment(marker))))
    return int(row[0])


def reap(server: Server) -> list[str]:
    """Drop databases of ours that nobody owns any more: their mark ran out, or their process is gone and nobody wanted
    them kept. One that somebody is connected to stays. The names of those dropped."""
    gone = []
    with server.connected() as admin:
        for name in list(_forsaken(admin, server)):
            try:
                admin.execute(sql.SQL("drop database {}").format(sql.Identifier(name)))
            except (
                psycopg.errors.ObjectInUse,
                psycopg.errors.InvalidCatalogName,
                psycopg.errors.InsufficientPrivilege,
            ):
                continue
            gone.append(name)
    return gone


def _forsaken(admin: psycopg.Connection[Any], server: Server) -> Iterator[str]:
    rows = admin.execute(
        "select datname, oid::bigint, shobj_description(oid, 'pg_database') from pg_database"
        " where starts_with(datname, %s)", (PREFIX,),
    ).fetchall()  # fmt: skip
    for name, oid, comment in rows:
        marker = read_marker(comment)
        identity = server.known.evidence.identity
        ours = marker is not None and marker.by.startswith("isolation ") and marker.database_oid == oid
        if marker is None or not ours or marker.system_identifier != identity.system_identifier:
            continue
        expired = datetime.fromisoformat(str(marker.until)) <= datetime.now(UTC)
        if expired or (marker.reason == "test database" and _is_gone(marker.by)):
            yield name


def _is_gone(by: str) -> bool:
    """Whether the process that made a database is known to have ended: on this machine, in this boot."""
    _, boot, pid = by.split(" ")
    return boot == maker().split(" ")[1] != "?" and not Path(f"/proc/{pid}").exists()
