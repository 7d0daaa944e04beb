"""`rowback lab up|status|break|down`: one lab in the background, found again, gone without a trace."""

from __future__ import annotations

import http.client
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from copy import copy
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import boto3
import pytest

from runbooks.lab.fault_catalogue import FAULTS, switch
from runbooks.lab.lab_state import Faults
from tests.fix_lab import Live, wait_until


@pytest.fixture
def root() -> Iterator[Path]:
    # Not a name that `sweep` looks for: a lab starting in another test process would remove the dead one first.
    path = Path(tempfile.mkdtemp(prefix="rowback-test-of-lab-"))
    path.rmdir()
    yield path
    lab(path, "down")
    assert not path.exists()


def lab(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "recovery.cli", "lab", *arguments],
        text=True,
        capture_output=True,
        check=False,
        env={**os.environ, "ROWBACK_LAB_ROOT": str(root)},
    )


def postmasters(root: Path) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().decode().split("\0")
        except (OSError, UnicodeDecodeError):
            continue
        if any(str(root) in part for part in command):
            found.append(" ".join(command))
    return found


def test_up_status_break_down(root: Path) -> None:
    nothing = lab(root, "status")
    assert (nothing.returncode, nothing.stderr) == (3, "no lab is up; start one with: rowback lab up\n")
    assert lab(root, "break").returncode == 3
    up = lab(root, "up", "--articles", "50", "--json")
    assert up.returncode == 0, up.stderr
    state = json.loads(up.stdout)
    assert state["instances"]["docs-staging"]["databases"] == ["docs", "billing"]
    assert (root / "lab.json").stat().st_mode & 0o077 == 0, "the password is nobody else's business"
    again = lab(root, "up")
    assert again.returncode == 3
    assert f'a lab is already up (pid {state["pid"]}); use it: eval "$(rowback lab status)"; end it:' in again.stderr
    other_shell = lab(root, "status")
    assert other_shell.returncode == 0
    assert f"export PGPORT={state['instances']['docs-staging']['port']}\n" in other_shell.stdout
    broken = lab(root, "break")
    assert broken.returncode == 0, broken.stderr
    assert broken.stdout.endswith("Z\n")
    assert postmasters(root)
    down = lab(root, "down")
    assert (down.returncode, down.stderr) == (0, "the lab is down\n")
    assert postmasters(root) == []
    assert lab(root, "down").stderr == "no lab was up\n"


def test_down_after_the_lab_was_killed(root: Path) -> None:
    state = json.loads(lab(root, "up", "--articles", "50", "--json").stdout)
    os.kill(state["pid"], signal.SIGKILL)
    wait_until(lambda: postmasters(root) == [], "its servers end by themselves")
    assert lab(root, "status").returncode == 3
    assert lab(root, "down").stderr == "the lab is down\n"


def test_a_second_person_for_approvals(root: Path) -> None:
    """Another identity of the same account, and never the one that `up` exports."""
    assert lab(root, "colleague").stderr.splitlines() == [
        "error[lab-unavailable]: no lab is up",
        "  nothing was created, nothing was written",
        '  help: start one: eval "$(rowback lab up)"',
    ]
    up = lab(root, "up", "--articles", "20", "--json")
    assert up.returncode == 0, up.stderr
    mine = json.loads(up.stdout)["exports"]
    exports = dict(line.removeprefix("export ").split("=", 1) for line in lab(root, "colleague").stdout.splitlines())
    assert exports.keys() == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}

    def arn(**keys: str) -> str:
        sts = boto3.client(
            "sts",
            endpoint_url=mine["AWS_ENDPOINT_URL"],
            region_name="eu-west-1",
            aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        )
        return str(sts.get_caller_identity()["Arn"])

    assert arn(**exports).endswith(":user/colleague")
    assert arn(**exports) != arn(**mine)


@pytest.mark.parametrize("verb", ["up", "down"])
@pytest.mark.parametrize("kind", ["filled", "a link", "a file", "of somebody else", "writable by all"])
def test_only_a_lab_s_own_directory_is_touched(tmp_path: Path, verb: str, kind: str) -> None:
    """ROWBACK_LAB_ROOT names something by mistake, or somebody made the default directory first: nothing is deleted."""
    precious = tmp_path / "precious"
    (precious / "sub").mkdir(parents=True)
    (precious / "sub" / "thesis.txt").write_text("years of work")
    (precious / "lab.json").write_text("{}")
    named = precious
    match kind:
        case "a link":
            named = tmp_path / "link"
            named.symlink_to(precious)
        case "a file":
            named = precious / "sub" / "thesis.txt"
        case "of somebody else":
            (precious / ".rowback-lab").touch()
            os.chown(precious, 65534, 65534)
        case "writable by all":
            (precious / ".rowback-lab").touch()
            precious.chmod(0o777)
    refused = lab(named, verb)
    assert refused.returncode == 3
    assert "error[lab-unavailable]: " in refused.stderr
    assert "nothing in it was touched" in refused.stderr
    assert (precious / "sub" / "thesis.txt").read_text() == "years of work"


def test_an_empty_directory_of_ours_becomes_a_lab(root: Path) -> None:
    """Also under a umask that lets the group write: the next command does not take it for somebody else's."""
    root.mkdir()
    before = os.umask(0o002)
    try:
        assert lab(root, "up", "--articles", "10").returncode == 0
        assert lab(root, "status").returncode == 0
    finally:
        os.umask(before)


FORGED = {"B;touch PWNED;C": "y", "$(touch PWNED)": "z", "PGHOST": "x'; touch PWNED; '"}


@pytest.mark.parametrize("owner", ["somebody else", "ourselves"])
def test_a_forged_state_file_is_neither_run_nor_obeyed(tmp_path: Path, owner: str) -> None:
    """The state file of a stranger named a victim's pid and shell code. Even a state file of our own, with a server
    that answers, makes `eval` run nothing: names are quoted as values are."""
    root = tmp_path / "lab"
    root.mkdir()
    victim = subprocess.Popen(["sleep", "60"])
    with HTTPServer(("127.0.0.1", 0), _answering(victim.pid)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        (root / "lab.json").write_text(
            json.dumps(
                {
                    "pid": victim.pid,
                    "port": server.server_address[1],
                    "exports": FORGED,
                    "token": "x",
                    "root": str(root),
                    "postgres": "17",
                    "instances": {},
                    "colleague": FORGED,
                }
            )
        )
        (root / ".rowback-lab").touch()
        if owner == "somebody else":
            for path in (root, *root.iterdir()):
                os.chown(path, 65534, 65534)
        try:
            for verb in ("status", "colleague"):
                ran = lab(root, verb)
                assert (ran.returncode == 0) == (owner == "ourselves"), ran.stderr
                subprocess.run(
                    ["bash", "-c", f"eval {shlex.quote(ran.stdout)}"], cwd=tmp_path, check=False, capture_output=True
                )
            assert not (tmp_path / "PWNED").exists()
            if owner == "somebody else":
                assert lab(root, "down").returncode == 3
                assert victim.poll() is None
        finally:
            server.shutdown()
            victim.kill()
            victim.wait()


def _answering(pid: int) -> type[BaseHTTPRequestHandler]:
    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.dumps({"pid": pid}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    return Answer


def test_no_web_page_reaches_the_lab(root: Path) -> None:
    """Its control wants its token; a page of a browser names its origin, or comes by another host's name."""
    state = json.loads(lab(root, "up", "--articles", "10", "--json").stdout)

    def ask(path: str, **headers: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", state["port"], timeout=10)
        connection.request("POST", path, body="{}", headers=headers)
        status = connection.getresponse().status
        connection.close()
        return status

    token = {"X-Rowback-Lab-Token": state["token"]}
    here = f"127.0.0.1:{state['port']}"
    assert ask("/_lab/ping", **token) == 200
    assert ask("/_lab/ping") == 403
    assert ask("/_lab/ping", **{"X-Rowback-Lab-Token": state["token"][:-1]}) == 403
    assert ask("/_lab/ping", **token, Origin="https://evil.test") == 403
    assert ask("/_lab/ping", **token, Host="evil.test") == 403
    assert ask("/", Host="evil.test") == 403
    assert ask("/", Host=here, Origin=f"http://{here}") == 403


def test_two_at_once_with_their_own_homes(root: Path) -> None:
    one = lab(root, "up", "--articles", "20")
    two = lab(root, "up", "--articles", "20", "--name", "second")
    try:
        assert (one.returncode, two.returncode) == (0, 0), two.stderr
        assert "ROWBACK_HOME" not in one.stdout
        assert f"export ROWBACK_HOME={root}-second/home\n" in two.stdout
        ports = {line for each in (one, two) for line in each.stdout.splitlines() if "PGPORT" in line}
        assert len(ports) == 2
    finally:
        assert lab(root, "down", "--name", "second").stderr == "the lab is down\n"
    assert not Path(f"{root}-second").exists()
    assert lab(root, "status").returncode == 0, "the other one goes on"
    refused = lab(root, "up", "--name", "../etc")
    assert refused.returncode == 2
    assert "'../etc' is no name of a lab: small letters, digits and - only, at most 30" in refused.stderr


def test_faults_are_listed_and_switched(root: Path) -> None:
    assert lab(root, "fault", "list").returncode == 3
    up = json.loads(lab(root, "up", "--articles", "20", "--json").stdout)
    rds = boto3.client(
        "rds",
        region_name="eu-west-1",
        endpoint_url=up["exports"]["AWS_ENDPOINT_URL"],
        aws_access_key_id="lab",
        aws_secret_access_key="lab",
    )
    listed = lab(root, "fault", "list").stdout
    assert "  no-capacity              no instance of the class is to be had: the restore is refused\n" in listed
    restore = {"SourceDBInstanceIdentifier": "docs-staging", "UseLatestRestorableTime": True}
    assert lab(root, "fault", "add", "no-capacity").returncode == 0
    assert lab(root, "fault", "add", "no-capacity").returncode == 0
    assert "\n+ no-capacity " in lab(root, "fault", "list").stdout
    with pytest.raises(rds.exceptions.ClientError, match="InsufficientDBInstanceCapacity"):
        rds.restore_db_instance_to_point_in_time(TargetDBInstanceIdentifier="x", **restore)
    assert lab(root, "fault", "remove", "no-capacity").returncode == 0
    rds.restore_db_instance_to_point_in_time(TargetDBInstanceIdentifier="x", **restore)
    mistake = lab(root, "fault", "add", "no-capasity")
    assert mistake.returncode == 2
    assert "no fault 'no-capasity'; nearest names: no-capacity" in mistake.stderr


def ordered_trouble(faults: Faults) -> dict[str, object]:
    return {name: copy(value) for name, value in vars(faults).items() if name != "lock"}


def test_every_fault_can_be_switched_on_and_off_again(live: Live) -> None:
    lab = live.lab
    lab.engine.faults.calls.clear()  # used up by other tests
    before = ordered_trouble(lab.engine.faults)
    for name in FAULTS:
        switch(lab.account, "fault-add", name)
        switch(lab.account, "fault-remove", name)
    assert ordered_trouble(lab.engine.faults) == before
    assert (lab.account.odd_rows, lab.account.private) == ([], set())
