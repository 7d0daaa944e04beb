"""Containers as CI has them, made of namespaces: a bridge, and PostgreSQL behind one of its virtual cables."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from runbooks.lab.lab_server import Lab
from tests.fix_lab import wait_until
from tests.fix_plain import age
from tests.guards.inner import clean_environment

PORT = 5432
HOST, JOB, SERVICE, OTHER = "10.77.0.1", "10.77.0.2", "10.77.0.3", "10.77.0.4"
SHOW = "import sys; from recovery.cli import main; sys.argv = ['rowback', *sys.argv[1:]]; main()"


def needs_namespaces() -> None:
    """Skip, with a message, where this machine gives none."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "unshare", "setpriv"))):
        pytest.skip("containers are rebuilt with root, iproute2 and util-linux")
    if subprocess.run(["unshare", "--pid", "--net", "--fork", "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine allows no namespaces")


@dataclass
class Machine:
    """A host with a bridge. `hosts`: the network namespaces of its containers, by address; None is the host's own."""

    lab: Lab
    name: str
    stack: ExitStack = field(repr=False)
    hosts: dict[str, str] = field(default_factory=dict)

    def inside(self, address: str | None) -> list[str]:
        """What goes before a command so that it runs in a container's network; None: in the host's."""
        return ["ip", "netns", "exec", self.hosts[address] if address else self.name]

    def plug(self, address: str) -> None:
        """A container with that address, on the bridge."""
        space, number = f"{self.name}-{address.rpartition('.')[2]}", address.rpartition(".")[2]
        self.hosts[address] = space
        _ip("netns", "add", space)
        self.stack.callback(_ip, "netns", "del", space)
        _ip("-n", self.name, "link", "add", f"veth{number}", "type", "veth", "peer", "name", "eth0", "netns", space)
        _ip("-n", self.name, "link", "set", f"veth{number}", "master", "docker0")
        _ip("-n", self.name, "link", "set", f"veth{number}", "up")
        _ip("-n", space, "addr", "add", f"{address}/24", "dev", "eth0")
        for device in ("eth0", "lo"):
            _ip("-n", space, "link", "set", device, "up")
        _ip("-n", space, "route", "add", "default", "via", HOST)

    def server(self, address: str | None, *, made_at: datetime | None = None, own_pids: bool = True) -> None:
        """PostgreSQL in that container (its own pids), or on the host (`own_pids` False): it listens on 5432."""
        tools, root = self.lab.engine.tools, self.lab.root / f"{self.name}-{address or 'host'}"
        account = tools.account
        assert account is not None
        tools.give(root)
        tools.run("initdb", "-D", root / "data", "-U", "app", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C")
        hba = root / "data" / "pg_hba.conf"
        hba.write_text(hba.read_text() + "host all all 0.0.0.0/0 trust\n")
        if made_at:
            age(root / "data" / "global" / "pg_control", made_at)
            tools.run("pg_resetwal", "-f", "-D", root / "data")
        with (root / "log").open("wb") as log:
            process = subprocess.Popen(
                [
                    *self.inside(address),
                    *(["unshare", "--pid", "--fork"] if own_pids else []),
                    "setpriv",
                    f"--reuid={account.uid}",
                    f"--regid={account.gid}",
                    "--clear-groups",
                    str(tools.bin / "postgres"),
                    "-D",
                    str(root / "data"),
                    "-p",
                    str(PORT),
                    "-k",
                    "",
                    "-c",
                    "listen_addresses=*",
                    "-c",
                    "full_page_writes=off",
                ],
                cwd="/",
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.stack.callback(_end, process, root)
        probe = [str(tools.bin / "pg_isready"), "-h", "127.0.0.1", "-p", str(PORT)]
        wait_until(
            lambda: subprocess.run([*self.inside(address), *probe], check=False, capture_output=True).returncode == 0,
            f"PostgreSQL answers: {(root / 'log').read_text()}",
        )

    def verdict(self, dsn: str, *before: str, at: str | None, strictness: str = "ci", **environment: str) -> Any:
        """`rowback guard show --json` as a process in that container, after the words `before`."""
        command = [sys.executable, "-c", SHOW, "guard", "show", "--dsn", dsn, "--strictness", strictness, "--json"]
        done = subprocess.run(
            [*self.inside(at), *before, *command],
            check=False,
            text=True,
            capture_output=True,
            env=clean_environment(**environment),
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@contextmanager
def machine(lab: Lab, name: str, addresses: Sequence[str]) -> Iterator[Machine]:
    """A host of that name with containers of these addresses, while the block lasts."""
    with ExitStack() as stack:
        made = Machine(lab, f"rb{name}{os.getpid() % 10000}", stack)
        _ip("netns", "add", made.name)
        stack.callback(_ip, "netns", "del", made.name)
        for command in (
            "link set lo up",
            "link add docker0 type bridge",
            f"addr add {HOST}/24 dev docker0",
            "link set docker0 up",
        ):
            _ip("-n", made.name, *command.split())
        for address in addresses:
            made.plug(address)
        yield made


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def _end(process: subprocess.Popen[bytes], root: Path) -> None:
    for child in _below(process.pid):
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGQUIT)
    process.wait()
    shutil.rmtree(root, ignore_errors=True)


def _below(pid: int) -> list[int]:
    """The innermost of a chain of processes that each started one: PostgreSQL's postmaster."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    children = path.read_text().split() if path.exists() else []
    return _below(int(children[0])) if len(children) == 1 else [pid]
