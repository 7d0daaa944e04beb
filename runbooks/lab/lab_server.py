"""A whole lab: directory, engine, certificate authority, endpoint. In this process, or seen from another one."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

from guards.isolation.server_programs import PostgresError, find_tools
from runbooks.lab.endpoint import LabApi, OtherServices, serve
from runbooks.lab.engine import Engine
from runbooks.lab.fault_catalogue import switch
from runbooks.lab.lab_cluster import LabError
from runbooks.lab.lab_state import CallFault, Instance
from runbooks.lab.views import LabAccount
from runbooks.processes import runs

REGION, ACCOUNT_NUMBER = "eu-west-1", "123456789012"
ROOT_PREFIX = "rowback-lab-"
STATE_FILE = "lab.json"
AVAILABLE_DEADLINE_S = 120.0


def environment(port: int) -> dict[str, str]:
    """What a boto3 or aws-cli process needs in its environment to use the lab at `port` and nothing else."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "lab",
        "AWS_SECRET_ACCESS_KEY": "lab",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@dataclass
class Lab:
    """A running lab. Use `Lab.start()`, as a context manager: leaving it stops every process and removes every file."""

    root: Path
    engine: Engine
    account: LabAccount
    token: str  # of the control path
    _api: LabApi
    _others: OtherServices
    _server: ThreadingHTTPServer

    @classmethod
    def start(cls, root: Path | None = None, *, port: int = 0) -> Lab:
        """Start an empty lab below `root` (default: a new directory in the system's temporary one)."""
        sweep()
        root = root or Path(tempfile.mkdtemp(prefix=ROOT_PREFIX))
        root.mkdir(parents=True, exist_ok=True)
        root.chmod(0o755)  # PostgreSQL runs as another account and must be able to pass through
        (root / "pid").write_text(str(os.getpid()))
        try:
            tools = find_tools(root)
            certificate = None
            if tools.has_tls:
                from runbooks.lab.tls import create_authority

                authority = create_authority()
                (root / "ca.pem").write_text(authority.bundle)
                certificate = authority.server
            engine = Engine(root / "i", tools, certificate)
        except PostgresError:
            shutil.rmtree(root, ignore_errors=True)
            raise
        engine.root.mkdir(exist_ok=True)
        engine.root.chmod(0o755)
        account = LabAccount(engine, REGION, ACCOUNT_NUMBER)
        others = OtherServices()
        api, token = LabApi(account), secrets.token_urlsafe(24)
        return cls(root, engine, account, token, api, others, serve(api, others, _Control(account, token), port))

    @property
    def port(self) -> int:
        """The endpoint's port on loopback."""
        return int(self._server.server_address[1])

    @property
    def ca_bundle(self) -> Path:
        """The CA that signed the instances' certificates; absent when the PostgreSQL build has no TLS."""
        return self.root / "ca.pem"

    def environment(self) -> dict[str, str]:
        """See `environment`."""
        return environment(self.port)

    def new_person(self, name: str) -> dict[str, str]:
        """Another IAM user of the account: what the environment of a second person holds."""
        from moto.core import DEFAULT_ACCOUNT_ID
        from moto.iam.models import iam_backends

        users = iam_backends[DEFAULT_ACCOUNT_ID]["aws"]
        users.create_user(region_name=REGION, user_name=name)
        key = users.create_access_key(user_name=name)
        return {"AWS_ACCESS_KEY_ID": key.access_key_id, "AWS_SECRET_ACCESS_KEY": key.secret_access_key}

    def create_instance(self, identifier: str, *, master: str = "postgres", **extra: Any) -> str:
        """CreateDBInstance, with `extra` in botocore's names; waits until available and returns the master password."""
        password = secrets.token_urlsafe(12)
        request = {
            "DBInstanceIdentifier": identifier,
            "Engine": "postgres",
            "DBInstanceClass": "db.t3.micro",
            "AllocatedStorage": 20,
            "MasterUsername": master,
            "MasterUserPassword": password,
            "BackupRetentionPeriod": 7,
        }
        self._api.operations["CreateDBInstance"]({**request, **extra})
        self.wait_for(identifier, "available")
        return password

    def wait_for(self, identifier: str, status: str) -> Instance:
        """Wait until an instance has a status. Raises LabError at once when it ends in another final one."""
        deadline = time.monotonic() + AVAILABLE_DEADLINE_S
        while time.monotonic() < deadline:
            instance = self.engine.instances.get(identifier)
            if instance and instance.status == status:
                return instance
            if instance and instance.status in {"failed", "incompatible-restore"} - {status}:
                raise LabError(f"{identifier} is {instance.status}: {instance.trouble}")
            time.sleep(0.01)
        raise LabError(f"{identifier} was not {status} within {AVAILABLE_DEADLINE_S:.0f} s")

    def stop(self) -> None:
        """Stop the endpoint and every cluster, and remove the lab's directory."""
        self._server.shutdown()
        self._server.server_close()
        self._others.stop()
        self.engine.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


@dataclass(frozen=True)
class _Control:
    """`POST /_lab/<verb>` with `token`: what tests and `rowback lab` ask of a lab in another process."""

    account: LabAccount
    token: str

    @property
    def engine(self) -> Engine:
        """The lab's instances."""
        return self.account.engine

    def __call__(self, verb: str, body: dict[str, Any]) -> dict[str, Any]:  # noqa: C901 (one case a verb)
        faults = self.engine.faults
        match verb:
            case "ping" | "fault-list":
                pass
            case "fault-add" | "fault-remove":
                switch(self.account, verb, body["name"])
            case "fault":
                faults.calls.append(CallFault(**body))
            case "next-restore":
                faults.next_restores.append(str(body["status"]))
            case "creating-delay":
                faults.creating_delay_s = float(body["seconds"])
            case "status":
                self.engine.instances[body["instance"]].status = str(body["status"])
            case "deny":
                faults.denied = set(body["actions"])
            case "lose-wal":
                self.engine.lose_wal(body["instance"])
            case _:
                raise ValueError(f"the lab has no control verb {verb!r}")
        ordered = sorted(self.engine.faults.ordered)
        return {"pid": os.getpid(), "version": self.engine.tools.version, "ordered": ordered}


def sweep() -> None:
    """Remove directories of labs whose process is gone (kill -9 leaves files, never processes)."""
    for root in Path(tempfile.gettempdir()).glob(f"{ROOT_PREFIX}*"):
        try:
            owned = root.stat().st_uid == os.geteuid()
            pid = int((root / "pid").read_text())
        except (OSError, ValueError):
            continue
        if owned and not runs(pid):
            shutil.rmtree(root, ignore_errors=True)


def write_state(root: Path, state: Mapping[str, Any]) -> None:
    """Publish how to use a lab to other processes of the same user (it holds the sample's password)."""
    path = root / STATE_FILE
    scratch = path.with_suffix(".new")
    scratch.touch(mode=0o600)
    scratch.write_text(json.dumps(state, indent=1))
    scratch.replace(path)
