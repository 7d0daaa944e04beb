"""Where in the user's own code a statement came from: the file and line, and what of a framework sent it."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

_OURS = str(Path(__file__).parent)
_INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
# What people know the sender by, the outermost last: module, function, words.
_SENDERS = {
    ("sqlalchemy.sql.schema", "drop_all"): "SQLAlchemy's MetaData.drop_all()",
    ("sqlalchemy.orm.query", "delete"): "SQLAlchemy's Query.delete()",
    ("sqlalchemy.orm.session", "flush"): "SQLAlchemy's Session.flush()",
    ("django.test.testcases", "_fixture_teardown"): "Django's TransactionTestCase, which flushes the database",
    ("django.core.management.commands.flush", "handle"): "Django's flush",
    ("django.test.runner", "setup_databases"): "Django's test runner, which makes its databases",
    ("django.core.management.commands.migrate", "handle"): "Django's migrate",
    ("alembic.command", "downgrade"): "alembic downgrade",
    ("alembic.command", "upgrade"): "alembic upgrade",
    ("pytest_postgresql.janitor", "drop"): "pytest-postgresql's janitor",
}


@dataclass(frozen=True)
class CallSite:
    """`place`: «tests/conftest.py:12 in clean»; None when no line of the user's is on the stack.

    `sender`: who of a framework wrote the statement; None when it was the user.
    """

    place: str | None
    sender: str | None


def call_site() -> CallSite:
    """Walk outwards from here."""
    place = sender = None
    for frame in _frames():
        code = frame.f_code
        sender = _SENDERS.get((frame.f_globals.get("__name__", ""), code.co_name), sender)
        if place is None and _is_the_users(code.co_filename):
            place = f"{_short(code.co_filename)}:{frame.f_lineno} in {code.co_name}"
    return CallSite(place, sender)


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)  # nothing public gives frames without reading their source
    while frame is not None:
        yield frame
        if frame.f_code.co_name == "greenlet_spawn":
            # SQLAlchemy's asyncio waits here for what runs in a greenlet: its frames stand aside.
            aside = getattr(frame.f_locals.get("context"), "gr_frame", None)
            while aside is not None:
                yield aside
                aside = aside.f_back
        frame = frame.f_back


def _is_the_users(filename: str) -> bool:
    return not filename.startswith(("<", _OURS, *_INSTALLED))


def _short(filename: str) -> str:
    path = Path(filename)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else filename
