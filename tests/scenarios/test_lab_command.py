"""`rowback lab up|status|break|down`: one lab in the background, found again, gone without a trace."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from tests.fix_lab import wait_until


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
        [sys.executable, "-m", "recovery.cli", "lab", *arguments], text=True, capture_output=True, check=False,
        env={**os.environ, "ROWBACK_LAB_ROOT": str(root)},
    )  # fmt: skip


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
        "error[lab-unavailable]: no lab is up", "  nothing was created, nothing was written",
        '  help: start one: eval "$(rowback lab up)"',
    ]  # fmt: skip
    up = lab(root, "up", "--articles", "20", "--json")
    assert up.returncode == 0, up.stderr
    mine = json.loads(up.stdout)["exports"]
    exports = dict(line.removeprefix("export ").split("=", 1) for line in lab(root, "colleague").stdout.splitlines())
    assert exports.keys() == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}

    def arn(**keys: str) -> str:
        sts = boto3.client(
            "sts", endpoint_url=mine["AWS_ENDPOINT_URL"], region_name="eu-west-1",
            aws_access_key_id=keys["AWS_ACCESS_KEY_ID"], aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        )  # fmt: skip
        return str(sts.get_caller_identity()["Arn"])

    assert arn(**exports).endswith(":user/colleague")
    assert arn(**exports) != arn(**mine)
