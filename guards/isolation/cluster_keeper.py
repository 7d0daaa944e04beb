"""Keeps one throw-away cluster alive while anybody uses it.

Started as: python -m guards.isolation.cluster_keeper DIRECTORY
"""

from __future__ import annotations

import fcntl
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from guards.isolation.server_programs import PostgresError, Tools, find_tools, free_port

KEPT_S = 3600.0
LOOK_EVERY_S = 1.0
# Nothing of it must survive: no fsync, no WAL beyond what a crash of one backend needs.
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "checkpoint_timeout": "1h",
    "max_wal_size": "4GB",
    "jit": "off",
    "hot_standby": "off",
    "listen_addresses": "127.0.0.1",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


def main(home: Path) -> int:
    """Create and start the cluster in `home`, and stop and remove it when its last user has left.

    Writes its port and socket directory to the file `ready`, or the reason of a failure to `failed`. Returns 0, or 1
    when it did not start.
    """
    try:
        tools = find_tools(home)
        process = _start(tools, home, port := free_port())
    except PostgresError as error:
        log = home / "log"
        (home / "failed").write_text(f"{error}\n{log.read_text(errors='replace')[-2000:] if log.exists() else ''}")
        return 1
    tether = tools.die_with_us(process.pid)
    fresh = home / "ready.new"
    fresh.write_text(json.dumps({"port": port, "socket": str(home / "s")}))
    fresh.rename(home / "ready")
    with (home / "users").open() as users:
        fcntl.flock(users, fcntl.LOCK_EX)
        _linger(home / "keep")
        (home / "ready").unlink()
        process.send_signal(signal.SIGQUIT)
        process.wait()
        tether.kill()
        shutil.rmtree(home, ignore_errors=True)
    return 0


def _start(tools: Tools, home: Path, port: int) -> subprocess.Popen[bytes]:
    tools.give(home / "pg", home / "s")
    data = home / "pg" / "data"
    tools.run(
        "initdb",
        "-D",
        data,
        "-U",
        "postgres",
        "-E",
        "UTF8",
        "--locale=C",
        "--no-sync",
        "--auth=trust",
        "--no-instructions",
    )
    chosen = {**SETTINGS, "port": str(port), "unix_socket_directories": str(home / "s")}
    with (data / "postgresql.conf").open("a") as out:
        out.writelines(f"{name} = '{value}'\n" for name, value in chosen.items())
    process = tools.start("postgres", "-D", data, log=home / "log")
    tools.await_ready(process, data)
    return process


def _linger(keep: Path) -> None:
    until = time.monotonic() + KEPT_S
    while keep.exists() and time.monotonic() < until:
        time.sleep(LOOK_EVERY_S)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
