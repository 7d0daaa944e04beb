"""A network that swallows what is sent: the person is told after ten seconds, and the connection ends by itself."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from recovery.errors import RowbackError
from recovery.model.instance import Endpoint
from recovery.postgres import dead_peer_warning
from recovery.postgres.connect import connect
from tests.fix_lab import Database, wait_until
from tests.guards.machines import needs_namespaces

SLOW = "select count(*) from generate_series(1, 3) g, lateral (select pg_sleep(0.5 + 0 * g)) s"


def test_a_server_that_thinks_for_long_is_not_called_silent(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dead_peer_warning, "SILENT_S", 0.1)
    monkeypatch.setattr(dead_peer_warning, "AGAIN_S", 0.1)
    with caplog.at_level(logging.WARNING, "rowback"), connect(database.target()) as session:
        assert session.execute(SLOW).fetchone() == (3,)
    assert caplog.messages == []


def test_the_word_and_when(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The kernel's counters are asked for real below; here only that they lead to a word, again and again."""
    monkeypatch.setattr(dead_peer_warning, "SILENT_S", 0.2)
    monkeypatch.setattr(dead_peer_warning, "AGAIN_S", 0.3)
    monkeypatch.setattr(dead_peer_warning, "unanswered", lambda session: True)
    with caplog.at_level(logging.WARNING, "rowback"), connect(database.target()) as session:
        assert session.execute(SLOW).fetchone() == (3,)
    assert len(caplog.messages) >= 3
    assert re.fullmatch(
        r"no answer from 127\.0\.0\.1:\d+ for \d s, and the network does not acknowledge what is sent there; the"
        r" connection is given up within half a minute",
        caplog.messages[0],
    )


FORWARD = """
import select, socket, sys
server = socket.create_server((sys.argv[1], int(sys.argv[2])))
print('up', flush=True)
client, _ = server.accept()
upstream = socket.socket(socket.AF_UNIX)
upstream.connect(sys.argv[3])
while True:
    for ready in select.select([client, upstream], [], [])[0]:
        data = ready.recv(65536)
        if not data:
            sys.exit()
        (upstream if ready is client else client).sendall(data)
"""
HERE, THERE = (f"10.213.{os.getpid() % 250}.{host}" for host in (1, 2))
PORT = 5555


@contextmanager
def network(unix_socket: str) -> Iterator[Callable[[], None]]:
    """THERE is a host of its own, with a forwarder to the server's socket; calling what is yielded lets nothing come
    back from it any more."""
    space, cable = f"rowback-silence-{os.getpid()}", f"rbs{os.getpid() % 100000}"
    _ip("netns", "add", space)
    process = None
    try:
        _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", space)
        _ip("addr", "add", f"{HERE}/30", "dev", cable)
        _ip("link", "set", cable, "up")
        _ip("-n", space, "addr", "add", f"{THERE}/30", "dev", "eth0")
        _ip("-n", space, "link", "set", "eth0", "up")
        process = subprocess.Popen(
            ["ip", "netns", "exec", space, sys.executable, "-c", FORWARD, THERE, str(PORT), unix_socket],
            stdout=subprocess.PIPE,
        )
        assert process.stdout
        assert process.stdout.readline() == b"up\n"
        wait_until(lambda: Path(f"/sys/class/net/{cable}/operstate").read_text() == "up\n", "the cable is plugged in")
        yield lambda: _ip("-n", space, "route", "add", "blackhole", f"{HERE}/32")
    finally:
        if process is not None:
            process.kill()
            process.communicate()
        _ip("link", "del", cable)  # a namespace that is deleted keeps its end, and the address, for a while
        _ip("netns", "del", space)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


@pytest.mark.matrix
def test_a_black_hole_is_told_and_ends(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing comes back from the server's host any more: a word after ten seconds, and an error within a minute, where
    there was neither word nor end in 70 s."""
    needs_namespaces()
    cluster = database.live.lab.engine.instances[database.live.identifier].cluster
    directory = conninfo_to_dict(cluster.dsn())["host"]
    with network(f"{directory}/.s.PGSQL.{cluster.port}") as cut:
        target = replace(
            database.target(),
            endpoint=Endpoint(host=THERE, port=PORT),
            user="rdsadmin",
            password=None,
            sslmode="disable",
        )
        with (
            caplog.at_level(logging.WARNING, "rowback"),
            pytest.raises(RowbackError) as ended,
            connect(target) as session,
        ):
            cut()
            began = time.monotonic()
            session.execute("select pg_sleep(600)")
    with psycopg.connect(cluster.dsn(database.name), autocommit=True) as server:
        server.execute("select pg_terminate_backend(pid) from pg_stat_activity where query = 'select pg_sleep(600)'")
    assert time.monotonic() - began < 60
    assert caplog.messages, "not a word"
    assert caplog.messages[0].startswith(f"no answer from {THERE}:{PORT} for 1")
    assert ended.value.exit_code == 51, ended.value
