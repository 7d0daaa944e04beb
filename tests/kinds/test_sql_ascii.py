"""A database of encoding SQL_ASCII: bytes that are no UTF-8 come back as they were."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.fix_cli import Cli
from tests.fix_lab import Live
from tests.kinds.harness import World, database_made

pytestmark = pytest.mark.kinds

HOTEL = r"""
create table rooms (id int primary key, name text not null);
insert into rooms values (1, 'quiet'), (2, E'Caf\351'), (3, E'\376\200\301'), (4, E'\374ber'), (5, 'end');
create table wishes (id int primary key, wish text not null);
insert into wishes select g, case when g = 2 then E'cr\350me' else 'wish ' || g end from generate_series(1, 18) g;
"""


@pytest.fixture
def ascii_world(cli: Cli, live: Live) -> Iterator[World]:
    """A world in a database without an encoding."""
    options = "encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C' template template0"
    with database_made(live, "no_encoding", options) as database:
        yield World(cli, database)


@pytest.mark.parametrize("transport", ["dump", "copy"])
@pytest.mark.parametrize("encoding", [None, "UTF8", "LATIN1"])
def test_bytes_come_back_as_bytes(ascii_world: World, transport: str, encoding: str | None) -> None:
    """One table emptied, one with deleted rows, on both transports and under any PGCLIENTENCODING."""
    world = ascii_world
    world.past(HOTEL)
    assert (2, b"Caf\xe9") in world.held["public.rooms"]
    assert (2, b"cr\xe8me") in world.held["public.wishes"]
    world.incident("truncate rooms", "delete from wishes where id <= 7")
    environment: dict[str, Any] = {"PGCLIENTENCODING": encoding} if encoding else {}
    world.restore("--transport", transport, **environment)
    world.as_before("public.rooms", "public.wishes")
    world.counts("public.rooms", back=5)
    world.counts("public.wishes", back=7)
