"""Our databases bear the guard's mark, which proves them disposable to every process; names tell who made them."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import secrets
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from guards import system_clock
from guards.database_mark import Marker, as_comment, in_seconds, read_marker
from guards.isolation.throwaway_server import Server

PREFIX = "rowback_"
MAKER = "isolation"
KEPT = "kept: "
_OURS = re.compile(rf"{PREFIX}[0-9a-f]{{6}}_(?P<place>[0-9a-f]{{8}})_(?P<pid>\d+)_[0-9a-f]{{4}}_\d+")
_TOKEN = secrets.token_hex(2)
_numbers = itertools.count(1)
BOOT, PIDS = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")


def new_name() -> str:
    """A name for a database: its work tree (two on one server tell theirs apart), place, process, and a number."""
    tree = hashlib.sha256(os.getcwd().encode()).hexdigest()[:6]
    return f"{PREFIX}{tree}_{_place()}_{os.getpid()}_{_TOKEN}_{next(_numbers)}"


def _place() -> str:
    """Where process ids are what we take them for: this boot, and this namespace (containers have their own)."""
    boot = BOOT.read_text() if BOOT.exists() else ""
    namespace = PIDS.readlink() if PIDS.is_symlink() else ""
    return hashlib.sha256(f"{boot}{namespace}".encode()).hexdigest()[:8]


def mark(admin: psycopg.Connection[Any], server: Server, name: str, *, reason: str, seconds: float) -> int | None:
    """Mark database `name` as disposable for so long; its oid, or None when it is gone."""
    row = admin.execute("select oid::bigint from pg_database where datname = %s", (name,)).fetchone()
    if row is None:
        return None
    marker = Marker(
        "disposable",
        server.judgement.evidence.identity.system_identifier,
        int(row[0]),
        by=MAKER,
        reason=reason,
        until=in_seconds(seconds),
    )
    admin.execute(sql.SQL("comment on database {} is {}").format(sql.Identifier(name), sql.Literal(as_comment(marker))))
    return int(row[0])


def reap(server: Server) -> list[str]:
    """Drop test databases whose mark has expired, or whose owning process has ended without keeping them.

    A database with open connections is left alone. Returns the names of the dropped databases.
    """
    dropped = []
    with server.connect() as admin:
        for name in list(_forsaken(admin, server)):
            try:
                admin.execute(sql.SQL("drop database {}").format(sql.Identifier(name)))
            except (
                psycopg.errors.ObjectInUse,
                psycopg.errors.InvalidCatalogName,
                psycopg.errors.InsufficientPrivilege,
            ):
                continue
            dropped.append(name)
    return dropped


def _forsaken(admin: psycopg.Connection[Any], server: Server) -> Iterator[str]:
    rows = admin.execute(
        "select datname, oid::bigint, shobj_description(oid, 'pg_database') from pg_database"
        " where starts_with(datname, %s)",
        (PREFIX,),
    ).fetchall()
    identity = server.judgement.evidence.identity
    for name, oid, comment in rows:
        marker = read_marker(comment)
        if marker is None:  # killed between making and marking it; a comment of anybody's means that it is not ours
            if comment is None and _is_forsaken(name):
                yield name
        elif (marker.by, marker.system_identifier, marker.database_oid) == (MAKER, identity.system_identifier, oid):
            expired = datetime.fromisoformat(str(marker.until)) <= system_clock.now()
            if expired or (not marker.reason.startswith(KEPT) and _is_forsaken(name)):
                yield name


def _is_forsaken(name: str) -> bool:
    """Whether the process that a name tells of is known to have ended: in this very place."""
    match = _OURS.fullmatch(name)
    return match is not None and match["place"] == _place() and not Path(f"/proc/{match['pid']}").exists()
