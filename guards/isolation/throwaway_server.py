"""Where throw-away databases are made: on a server that may hold them, or on a cluster of our own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from guards import system_clock
from guards.connection_words import shown
from guards.drivers.guard_connection import asking
from guards.drivers.guarded_drivers import install
from guards.drivers.open_connection import wire_of
from guards.own_databases import may_hold
from guards.policy import policy_here
from guards.refusal import GuardError
from guards.refusal_text import Judgement
from guards.same_kernel import Backend, backend_here
from guards.server_location import gather
from guards.verdict import judge


@dataclass(frozen=True)
class Server:
    """A server in which databases may be made. `parameters`: how to reach its maintenance database, in libpq's words.

    `judgement`: what the guard thinks of that. `backend`: which server of this kernel it is; None where it is
    elsewhere.
    """

    parameters: Mapping[str, Any] = field(repr=False)
    judgement: Judgement
    backend: Backend | None

    def dsn(self, database: str) -> str:
        """How to reach one of its databases."""
        return make_conninfo(**{**self.parameters, "dbname": database})

    def connect(self, database: str | None = None) -> psycopg.Connection[Any]:
        """A session of our own, in autocommit; in the maintenance database where none is named."""
        name = {"dbname": database} if database else {}
        with asking():
            return psycopg.connect(**{**self.parameters, **name}, autocommit=True, application_name="rowback isolation")


def server_at(dsn: str) -> Server:
    """The server at `dsn`, if test databases may be created there.

    It is proven disposable, or it runs on this machine and is neither a managed service, a standby nor protected.
    Existing databases are not touched.

    Raises GuardError(not-disposable), GuardError(server-unreachable).
    """
    install()  # so that our own connections are known as such, also to a guard that comes later
    parameters = conninfo_to_dict(dsn)
    try:
        with asking():
            connection = psycopg.connect(dsn, connect_timeout=10, autocommit=True)
    except psycopg.Error as error:
        raise GuardError(
            "server-unreachable",
            (str(error).strip().splitlines() or ["no connection"])[0],
            state="no database was made",
            help="check the DSN, or leave it out: a cluster of our own is started then",
        ) from error
    with connection, asking():
        wire = wire_of(connection)
        evidence = gather(wire)
        judgement = Judgement(
            evidence, judge(evidence, policy_here(), system_clock.now()), shown(parameters), wire.conninfo
        )
        backend = backend_here(wire.link.fd, wire.link.key_pid)
    if not (judgement.verdict.disposable or (may_hold(judgement.evidence) and not judgement.verdict.by_owner)):
        raise GuardError(
            "not-disposable",
            f"no databases are made on {judgement.name}",
            *judgement.verdict.vetoes,
            *judgement.verdict.missing,
            state="no database was made",
            help="leave the DSN out (a cluster of our own is started then), or have its owner mark it:"
            f" rowback guard mark --dsn '{judgement.conninfo}' --reason …",
        )
    return Server(parameters, judgement, backend)
