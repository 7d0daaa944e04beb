"""`rowback lab up|status|down`: one lab in a process of its own, found again through a small state file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from runbooks.lab.directory import claim, is_lab, remove
from runbooks.lab.endpoint import TOKEN_HEADER
from runbooks.lab.lab_cluster import LabError
from runbooks.lab.lab_server import STATE_FILE, Lab, environment, write_state
from runbooks.lab.sample_data import load_billing, load_docs
from runbooks.processes import runs

INSTANCE, MASTER = "docs-staging", "postgres"
COLLEAGUE = "colleague"  # approvals need a second person, and a lab has none of its own
FAULT = "truncate table content.members, content.spaces restart identity cascade"
FAULTS = {
    "truncate": (FAULT,),
    "bad-delete": (
        'delete from content."Weird Name; --" where "t" % 3 = 0',
        "delete from content.spaces where space_id % 3 = 0",
    ),
    "bad-update": ("update content.articles set state = 'archived', rating = 0 where article_id % 2 = 0",),
}
AFTERWARDS = (
    "update content.articles set title = 'edited after the incident' where article_id in (1, 2)",
    "insert into content.tags (name) values ('written after the incident at ' || clock_timestamp())",
)
UP_DEADLINE_S, DOWN_DEADLINE_S = 120.0, 30.0


def foreign_variables(environment: Mapping[str, str]) -> list[str]:
    """Variables of the caller's shell that would lead libpq or boto3 somewhere else than to the lab."""
    return [name for name in environment if name.startswith(("PG", "AWS_"))]


def root_of(name: str | None) -> Path:
    """Where this user's background lab of that name lives; None: the one without a name."""
    configured = os.environ.get("ROWBACK_LAB_ROOT")
    root = Path(configured) if configured else Path(tempfile.gettempdir()) / f"rowback-lab-up-{os.getuid()}"
    return root.with_name(f"{root.name}-{name}") if name else root


def is_named(root: Path) -> bool:
    """Whether the lab there is one of several."""
    return root != root_of(None)


def up(root: Path, *, articles: int, seed: int) -> dict[str, Any]:
    """Start a lab with the sample in the background and wait for it. Raises LabError when one runs already."""
    if running := status(root):
        raise LabError(
            f'a lab is already up (pid {running["pid"]}); use it: eval "$(rowback lab status)"; end it: rowback lab'
            " down"
        )
    claim(root)
    log = root / "lab.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "runbooks.lab.background", str(root), str(articles), str(seed)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={name: value for name, value in os.environ.items() if name not in foreign_variables(os.environ)},
        )
    deadline = time.monotonic() + UP_DEADLINE_S
    while time.monotonic() < deadline:
        if running := status(root):
            return running
        if process.poll() is not None:
            words = log.read_text().strip().splitlines()[-1:]
            remove(root)
            raise LabError(f"the lab did not start: {' '.join(words)}")
        time.sleep(0.05)
    process.kill()
    raise LabError(f"the lab was not up within {UP_DEADLINE_S:.0f} s; see {log}")


def status(root: Path) -> dict[str, Any] | None:
    """The state of the lab below `root`, or None when none answers there."""
    if not is_lab(root):  # another user's file would be run by `eval "$(rowback lab status)"`
        return None
    try:
        state: dict[str, Any] = json.loads((root / STATE_FILE).read_text())
        answer = control(state, "ping", {})
    except (OSError, ValueError, KeyError, LabError):
        return None
    return state if answer.get("pid") == state["pid"] else None


def down(root: Path) -> bool:
    """End the lab below `root` and remove every file of it; False when there was nothing.

    Raises LabError for a directory that is no lab's.
    """
    state = status(root)
    if state:
        os.kill(state["pid"], signal.SIGTERM)
        deadline = time.monotonic() + DOWN_DEADLINE_S
        while (root.exists() or runs(state["pid"])) and time.monotonic() < deadline:
            time.sleep(0.02)
        if root.exists() or runs(state["pid"]):
            raise LabError(f"the lab (pid {state['pid']}) did not end within {DOWN_DEADLINE_S:.0f} s")
        return True
    return remove(root)


@dataclass(frozen=True)
class Played:
    """An incident: a whole second just before it, what ran, and the transaction id its rows carry."""

    target: datetime
    statements: tuple[str, ...]
    xid: int


def play(root: Path, fault: str) -> Played:
    """Run one of FAULTS on the background lab's own instance, and then let its users write on.

    Connects to the port and with the password of the lab's state file. Raises LabError when no lab is up.
    """
    state = status(root)
    if state is None:
        raise LabError("no lab is up; start one with: rowback lab up")
    exports = state["exports"]
    with psycopg.connect(
        host="127.0.0.1",
        port=exports["PGPORT"],
        user=MASTER,
        password=exports["PGPASSWORD"],
        dbname="docs",
        autocommit=True,
    ) as connection:
        moment = pass_a_second()
        with connection.transaction():
            for statement in FAULTS[fault]:
                connection.execute(statement)
            row = connection.execute("select pg_current_xact_id()::text::bigint % 4294967296").fetchone()
        for statement in AFTERWARDS if fault != "truncate" else ():
            connection.execute(statement)
    assert row
    return Played(moment, FAULTS[fault], int(row[0]))


def pass_a_second() -> datetime:
    """A whole second that lies behind us and after everything written so far: a target time RDS can hit exactly."""
    target = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)
    while datetime.now(UTC) <= target:
        time.sleep(0.01)
    return target


def control(state: Mapping[str, Any], verb: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Ask a running lab something through its control path, with the token of its state file.

    Raises LabError with the lab's words when it refuses.
    """
    request = urllib.request.Request(  # noqa: S310 (loopback, our own scheme)
        f"http://127.0.0.1:{int(state['port'])}/_lab/{verb}",
        data=json.dumps(body).encode(),
        method="POST",
        headers={TOKEN_HEADER: str(state["token"])},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        raise LabError(f"lab control {verb}: {error.read().decode()}") from error


def furnish_sample(lab: Lab, *, articles: int, seed: int) -> str:
    """Create `docs-staging` with `docs` and `billing` in it; returns the master password."""
    password = lab.create_instance(INSTANCE, master=MASTER, DBName="docs", PubliclyAccessible=False)
    with connect(lab, password, "docs") as connection:
        load_docs(connection, articles=articles, seed=seed)
        connection.execute("create database billing")
    with connect(lab, password, "billing") as connection:
        load_billing(connection, customers=max(10, articles // 10), seed=seed)
    log_everything(lab)
    return password


def log_everything(lab: Lab) -> None:
    """What a team turns on that wants to find out afterwards: every statement, and csvlog next to stderr.

    RDS's own default is log_statement = none.
    """
    cluster = lab.engine.instances[INSTANCE].cluster
    cluster.settings |= {"log_statement": "all", "log_destination": "stderr,csvlog"}
    cluster.reload()


def connect(lab: Lab, password: str, database: str) -> psycopg.Connection[Any]:
    """An autocommit session with the sample as its master user."""
    port = lab.engine.instances[INSTANCE].cluster.port
    return psycopg.connect(
        host="127.0.0.1", port=port, user=MASTER, password=password, dbname=database, autocommit=True
    )


def _state(lab: Lab, password: str) -> dict[str, Any]:
    port = lab.engine.instances[INSTANCE].cluster.port
    exports = {
        **environment(lab.port),
        "PGUSER": MASTER,
        "PGPASSWORD": password,
        "PGHOST": "127.0.0.1",
        "PGPORT": str(port),
    }
    if is_named(lab.root):  # its cases are no other lab's
        exports["ROWBACK_HOME"] = str(lab.root / "home")
    if lab.ca_bundle.exists():
        exports["PGSSLROOTCERT"] = str(lab.ca_bundle)
    return {
        "pid": os.getpid(),
        "port": lab.port,
        "token": lab.token,
        "root": str(lab.root),
        "postgres": lab.engine.tools.version,
        "instances": {INSTANCE: {"databases": ["docs", "billing"], "port": port}},
        "exports": exports,
        "colleague": lab.new_person(COLLEAGUE),
    }


def _serve(root: Path, articles: int, seed: int) -> None:
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with Lab.start(root) as lab:
        password = furnish_sample(lab, articles=articles, seed=seed)
        write_state(root, _state(lab, password))
        ended.wait()


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
