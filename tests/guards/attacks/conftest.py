"""Fixtures of the tests here."""

from __future__ import annotations

import re
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from tests.fix_plain import Plain
from tests.guards.attacks.ways_in import PURGE


@pytest.fixture
def prod(old: Plain, request: pytest.FixtureRequest) -> Iterator[str]:
    """An unmarked database with nine orders, and a view that deletes them; they are counted at the end."""
    name = "prod_" + re.sub(r"\W", "_", request.node.name)[-40:]
    old.make(name, *PURGE)
    yield name
    with psycopg.connect(old.dsn(name)) as session:
        assert session.execute("select count(*) from orders").fetchone() == (9,)
    with psycopg.connect(old.dsn(), autocommit=True) as server:
        server.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
