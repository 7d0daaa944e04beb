"""A real PgBouncer in front of a lab's instance, in transaction mode with one server connection: whatever one client
leaves behind, the next one gets."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from runbooks.lab.lab_server import Lab
from tests.fix_lab import Live, wait_until
from tests.guards.forwarder import free_port

SETTINGS = """\
[databases]
* = host=127.0.0.1 port={server} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir = {home}
auth_type = any
pool_mode = transaction
default_pool_size = 1
server_tls_sslmode = require
ignore_startup_parameters = extra_float_digits
"""


@pytest.fixture
def pooled(lab: Lab, live: Live) -> Iterator[Callable[[str], str]]:
    """How to reach a database of `live` through the pooler. Skips where PgBouncer is not installed."""
    program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        pytest.skip("no pgbouncer on this machine (apt-get install pgbouncer brings it)")
    port, home = free_port(), lab.root / "pgbouncer"
    lab.engine.tools.give(home)
    settings = home / "pgbouncer.ini"
    settings.write_text(SETTINGS.format(server=live.port, user=live.user, password=live.password, port=port, home=home))
    lab.engine.tools.own(settings)
    account = lab.engine.tools.account
    options = {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}
    process = subprocess.Popen(
        [program, str(settings)], cwd="/", stdout=(home / "log").open("wb"), stderr=subprocess.STDOUT, **options
    )  # type: ignore[call-overload]
    try:
        wait_until(lambda: _answers(port), f"pgbouncer answers ({(home / 'log').read_text()})")
        yield lambda database: f"host=127.0.0.1 port={port} user={live.user} dbname={database}"
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(Path(home))


def _answers(port: int) -> bool:
    try:
        psycopg.connect(f"host=127.0.0.1 port={port} user=postgres dbname=postgres").close()
    except psycopg.OperationalError:
        return False
    return True
