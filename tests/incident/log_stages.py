"""Sessions that play a case on a real server, and what must be told of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import ClientCursor

C, R = "committed", "rolled back"
GONE = "gone"  # rolled back, which the log shows only where it tells of disconnections
Play = Callable[["Stage"], None]


@dataclass
class Stage:
    """Sessions of one database. `t`: the play's own table, ten rows."""

    dsn: str
    t: str
    sessions: dict[str, psycopg.Connection[Any]] = field(default_factory=dict)

    def session(self, name: str = "a") -> psycopg.Connection[Any]:
        """One in autocommit, opened when it is first asked for."""
        if name not in self.sessions:
            self.sessions[name] = psycopg.connect(self.dsn, autocommit=True, application_name=f"app {name}")
        return self.sessions[name]

    def simple(self, text: str, name: str = "a") -> None:
        """By the simple protocol; an error of the server's is part of the play."""
        with contextlib.suppress(psycopg.Error):
            ClientCursor(self.session(name)).execute(text.format(t=self.t))

    def raw(self, text: str, name: str = "a") -> None:
        """Several statements in one message."""
        self.session(name).pgconn.exec_(text.format(t=self.t).encode())

    def extended(self, text: str, *parameters: object, name: str = "a", prepare: bool = False) -> None:
        """By the extended protocol, with parameters."""
        with contextlib.suppress(psycopg.Error):
            self.session(name).execute(text.format(t=self.t).encode(), parameters, prepare=prepare, binary=True)

    def gone(self, name: str = "a") -> None:
        """The session ends as it is."""
        self.sessions.pop(name).close()


@dataclass(frozen=True)
class Case:
    """`expected`: (a part of the statement's text, its outcome), for each destructive one."""

    play: Play
    expected: tuple[tuple[str, str], ...]


CASES: dict[str, Case] = {}


def case(*expected: tuple[str, str]) -> Callable[[Play], Play]:
    def add(play: Play) -> Play:
        CASES[play.__name__] = Case(play, expected)
        return play

    return add
