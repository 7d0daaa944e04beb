"""CI set-ups, rebuilt with namespaces in their documented order of start: each passes, or is refused, as the table in
docs/guards.md says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runbooks.lab.lab_server import Lab
from tests.fix_lab import wait_until
from tests.guards.machines import HOST, JOB, OTHER, PORT, SERVICE, SHOW, Machine, machine, needs_namespaces

pytestmark = pytest.mark.matrix

SETUPS = {
    "GitHub, job on the VM, service by its address": "passes",
    "GitHub, job on the VM, service by a published port": "passes",
    "GitHub, job in a container": "passes",
    "GitLab's Docker executor (services start first)": "passes",
    "pod with a sidecar (CircleCI, Bitbucket, Kubernetes)": "passes",
    "self-hosted runner that stays, server made in the job": "passes",
    "self-hosted runner that stays, server made before the job": "refused",
    "machine up for 200 days, server of 100 days": "refused",
    "container of 100 days on a new machine": "refused",
    "service forwarded by the host to another machine": "refused",
    "an application's container is connected": "passes",
    "devcontainer or compose (judged as dev)": "passes",
    "devcontainer, server of 100 days (judged as dev)": "refused",
}
IN_A_CONTAINER = ("unshare", "--pid", "--fork", "--mount-proc")
OLD = timedelta(days=100)


@pytest.fixture
def host(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Machine]:
    needs_namespaces()
    with machine(lab, f"{abs(hash(request.node.name)) % 1000}", (JOB, SERVICE, OTHER)) as made:
        yield made


def way(address: str) -> str:
    return f"host={address} port={PORT} user=app dbname=postgres"


def seen(setup: str, verdict: dict[str, object]) -> None:
    assert ("passes" if verdict["disposable"] else "refused") == SETUPS[setup], verdict


def test_github(host: Machine) -> None:
    host.server(SERVICE)
    by_address = host.verdict(way(SERVICE), at=None, GITHUB_ACTIONS="true")
    seen("GitHub, job on the VM, service by its address", by_address)
    assert any(proof.startswith("it runs on this machine: backend ") for proof in by_address["proofs"])
    seen("GitHub, job in a container", host.verdict(way(SERVICE), *IN_A_CONTAINER, at=JOB))


def test_a_published_port(host: Machine) -> None:
    """Docker's proxy stands between: it connects from the bridge's own address."""
    host.server(SERVICE)
    proxy = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        "from tests.guards.forwarder import forwarded\nimport time\n"
        f"with forwarded(({SERVICE!r}, {PORT})) as port:\n    print(port, flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([*host.inside(None), sys.executable, "-c", proxy], stdout=subprocess.PIPE, text=True) as runs:
        assert runs.stdout is not None
        port = runs.stdout.readline().strip()
        verdict = host.verdict(way("127.0.0.1").replace(f"port={PORT}", f"port={port}"), at=None)
        runs.terminate()
    seen("GitHub, job on the VM, service by a published port", verdict)


def test_gitlabs_docker_executor(host: Machine) -> None:
    """The service is there before the build container, whose start would say that it is of an earlier job."""
    began = datetime.now(UTC)
    host.server(SERVICE, made_at=began - timedelta(seconds=20))
    for more in ({"CI_JOB_STARTED_AT": (began - timedelta(seconds=25)).isoformat()}, {}):
        verdict = host.verdict(way(SERVICE), *IN_A_CONTAINER, at=JOB, **more)
        seen("GitLab's Docker executor (services start first)", verdict)
        assert "it is a container next door, on eth0" in verdict["proofs"]
    early = host.verdict(way(SERVICE), *IN_A_CONTAINER, at=JOB, CI_JOB_STARTED_AT=began.isoformat())
    assert not early["disposable"], "the variable alone decides where it is set"


def test_a_sidecar(host: Machine) -> None:
    """One network for all, and pids of one's own: it is reached on localhost."""
    host.server(SERVICE, made_at=datetime.now(UTC) - timedelta(seconds=5))
    verdict = host.verdict(way("127.0.0.1"), *IN_A_CONTAINER, at=SERVICE)
    seen("pod with a sidecar (CircleCI, Bitbucket, Kubernetes)", verdict)
    assert any("on the loopback that we share" in proof for proof in verdict["proofs"])


def runner(home: Path) -> str:
    """A shell that the kernel calls by the name of GitHub's runner."""
    shutil.copy("/bin/sh", home / "Runner.Listener")
    return str(home / "Runner.Listener")


def test_a_runner_that_stays(host: Machine, tmp_path: Path) -> None:
    """The runner was there before; what it starts is the job."""
    listener = runner(tmp_path)
    host.server(SERVICE, made_at=datetime.now(UTC) - timedelta(seconds=30))
    verdict = host.verdict(way(SERVICE), listener, "-c", '"$@"; exit', "job", at=None)
    seen("self-hosted runner that stays, server made before the job", verdict)
    assert any(line.endswith("not after this job began") for line in verdict["missing"])
    waits = f'touch {tmp_path}/began; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; "$@"; exit'
    command = [
        *host.inside(None),
        listener,
        "-c",
        'sh -c "$0" job "$@"; exit',
        waits,
        sys.executable,
        "-c",
        SHOW,
        "guard",
        "show",
        "--dsn",
        way(OTHER),
        "--strictness",
        "ci",
        "--json",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as job:
        wait_until((tmp_path / "began").exists, "the job began")
        second = int(datetime.now(UTC).timestamp())
        wait_until(lambda: int(datetime.now(UTC).timestamp()) > second, "births are whole seconds")
        host.server(OTHER)
        (tmp_path / "go").touch()
        assert job.stdout is not None
        answer = job.stdout.read()
    assert '"disposable": true' in answer, answer
    assert SETUPS["self-hosted runner that stays, server made in the job"] == "passes"


def test_a_machine_that_is_up_for_long(host: Machine, tmp_path: Path) -> None:
    stat = Path("/proc/stat").read_text()
    boot = int((datetime.now(UTC) - timedelta(days=200)).timestamp())
    (tmp_path / "stat").write_text(re.sub(r"^btime \d+$", f"btime {boot}", stat, flags=re.MULTILINE))
    host.server(SERVICE, made_at=datetime.now(UTC) - OLD)
    long_up = ("unshare", "-m", "sh", "-c", f'mount --bind {tmp_path}/stat /proc/stat; exec "$@"', "sh")
    seen("machine up for 200 days, server of 100 days", host.verdict(way(SERVICE), *long_up, at=None, CI="true"))
    seen("container of 100 days on a new machine", host.verdict(way(SERVICE), at=None, CI="true"))


def test_what_the_host_forwards_is_not_next_door(host: Machine) -> None:
    """From a container, the gateway leads to whatever the host forwards there."""
    host.server(SERVICE)
    proxy = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        "import socket, tests.guards.forwarder as f, threading, time\n"
        f"listener = socket.socket(); listener.bind(({HOST!r}, 15432)); listener.listen()\n"
        f"threading.Thread(target=f._accept, args=(listener, ({SERVICE!r}, {PORT}), None), daemon=True).start()\n"
        "print('listens', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([*host.inside(None), sys.executable, "-c", proxy], stdout=subprocess.PIPE, text=True) as runs:
        assert runs.stdout is not None
        assert runs.stdout.readline() == "listens\n"
        verdict = host.verdict(way(HOST).replace(f"port={PORT}", "port=15432"), *IN_A_CONTAINER, at=JOB)
        runs.terminate()
    seen("service forwarded by the host to another machine", verdict)


def test_an_application_of_the_same_suite(host: Machine) -> None:
    """End to end: its container is connected, with the same role and from its own address."""
    host.server(SERVICE)
    connect = f"import psycopg; c = psycopg.connect({way(SERVICE)!r}); print('connected', flush=True); input()"
    with subprocess.Popen(
        [*host.inside(OTHER), sys.executable, "-c", connect], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as application:
        assert application.stdout is not None
        assert application.stdout.readline() == "connected\n"
        for at, before in ((None, ()), (JOB, IN_A_CONTAINER)):
            verdict = host.verdict(way(SERVICE), *before, at=at)
            assert verdict["evidence"]["foreign_sessions"] == 1
            seen("an application's container is connected", verdict)
        application.communicate("\n")


def test_a_devcontainer(host: Machine) -> None:
    host.server(SERVICE)
    host.server(OTHER, made_at=datetime.now(UTC) - OLD)
    at = {"at": JOB, "strictness": "dev"}
    seen("devcontainer or compose (judged as dev)", host.verdict(way(SERVICE), *IN_A_CONTAINER, **at))
    seen("devcontainer, server of 100 days (judged as dev)", host.verdict(way(OTHER), *IN_A_CONTAINER, **at))


def test_the_table_in_the_docs_is_what_was_seen() -> None:
    page = (Path(__file__).parents[2] / "docs" / "guards.md").read_text()
    (table,) = re.findall(r"<!-- setups -->\n(.*?)\n<!-- /setups -->", page, re.DOTALL)
    assert table == "\n".join(["| set-up | |", "|---|---|", *(f"| {k} | {v} |" for k, v in SETUPS.items())])
