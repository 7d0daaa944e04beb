"""DSNs: of `guard check --dsn`, and of databases that a policy names as the application's own."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from guards.commands.guard_target import _without_driver, connected
from guards.connection_words import shown
from guards.drivers.guard_connection import resolved
from guards.refusal import GuardError
from tests.fuzz.mutations import mutated
from tests.fuzz.target import Invocation, Target, argument, printed

SEEDS = (
    "host=127.0.0.1 port=1 dbname=app_test",
    "postgresql://me:pass@127.0.0.1:1/app?sslmode=require",
    "postgresql+asyncpg://me@127.0.0.1:1/app",
    "host=/nowhere port=1 dbname='a b'",
    "hostaddr=127.0.0.1 port=1",
    "postgresql://me@[::1]:1/app?options=-c%20x%3D1",
    "host=127.0.0.1,127.0.0.2 port=1,2",
    "service=nothing",
    "postgresql://%2Fnowhere/app",
    "dbname=app host=localhost connect_timeout=1",
    "",
)
TOKENS = (
    "host=",
    "hostaddr=",
    "port=",
    "dbname=",
    "user=",
    "password=",
    "sslmode=",
    "connect_timeout=",
    "options=",
    "service=",
    "passfile=",
    "127.0.0..1",
    "postgresql://",
    "postgres://",
    "@",
    "%2F",
    "%00",
    "%zz",
    "[::1]",
    "?",
    "&",
    "'",
    "\\'",
    ",",
    "localhost",
    "xn--",
    "a" * 64 + ".invalid",
    "keepalives=",
    "client_encoding=",
    "target_session_attrs=",
    "load_balance_hosts=random",
    "sslrootcert=",
    "gssencmode=",
    "require_auth=",
    "0",
    "-1",
    "65536",
    "99999999999",
)


def _make(rng: Random) -> str:
    return argument(mutated(rng, SEEDS, TOKENS))


@contextmanager
def _no_network() -> Iterator[None]:
    """Names are not looked up, and nothing but this machine is connected to; all checks of arguments stay."""
    looked_up, connecting = socket.getaddrinfo, psycopg.Connection._connect_gen

    def numeric(host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> Any:
        addresses = looked_up(host, port, family, type, proto, flags | socket.AI_NUMERICHOST)
        if any(not str(each[4][0]).startswith(("127.", "::1")) for each in addresses):
            raise OSError("not connected while fuzzing")
        return addresses

    def refused(conninfo: str, *_: Any, **__: Any) -> Any:
        conninfo.encode()
        raise psycopg.OperationalError("not connected while fuzzing")

    socket.getaddrinfo = numeric
    psycopg.Connection._connect_gen = refused  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        socket.getaddrinfo = looked_up
        psycopg.Connection._connect_gen = connecting  # type: ignore[method-assign]


def _act(data: str, directory: Path) -> None:
    dsn = _without_driver(None, None, data)  # type: ignore[arg-type]
    with _no_network(), connected(dsn):
        raise AssertionError("there is nothing to connect to")


def _command(data: str, directory: Path) -> Invocation | None:
    return Invocation(("guard", "check", f"--dsn={data}")) if _stays_here(data) else None


def _stays_here(data: str) -> bool:
    """Whether its addresses are this machine's own, or names."""
    try:
        parts = conninfo_to_dict(_without_driver(None, None, data))  # type: ignore[arg-type]
    except (psycopg.Error, UnicodeError):
        return True
    hosts = [host for name in ("host", "hostaddr") for host in str(parts.get(name) or "").split(",")]
    return all(map(_is_here, hosts))


def _is_here(host: str) -> bool:
    try:
        addresses = socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError, ValueError):
        return True
    return all(str(each[4][0]).startswith(("127.", "::1")) for each in addresses)


POLICIES = (
    *SEEDS,
    "$DATABASE_URL",
    ".env:DATABASE_URL",
    "config/.env:X",
    "postgresql+psycopg2://u:p@h/db?sslmode=require&x=y",
)
FILES = ('DATABASE_URL="postgresql://me@h/db"\n', "export DATABASE_URL='x'\n# c\nX = y z\n", "DATABASE_URL=\n")


def _make_policy(rng: Random) -> tuple[str, str, str]:
    """An entry of a policy, a .env file, and the value of a variable."""
    entry = mutated(rng, POLICIES, (*TOKENS, "$", ":", ".env", "://")).encode(errors="ignore").decode()
    return entry, mutated(rng, FILES, ("DATABASE_URL", "=", '"')), argument(mutated(rng, SEEDS, TOKENS))


def _act_policy(data: tuple[str, str, str], directory: Path) -> None:
    entry, text, value = data
    if "django:" in entry:
        return  # needs a Django project
    (directory / ".env").write_bytes(text.encode("utf-8", "surrogatepass"))
    os.environ["DATABASE_URL"] = value
    try:
        dsn = resolved(entry)
    except GuardError as error:
        printed(str(error))
        raise
    if dsn is not None:
        printed(shown(conninfo_to_dict(dsn)))


TARGETS = (
    Target("dsn", _make, _act, 20, _command),
    Target("policy-dsn", _make_policy, _act_policy, 15),
)
