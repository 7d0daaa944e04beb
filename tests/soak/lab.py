"""The lab of a run, in a process of its own: one instance for all schedules, and one that only looks like a copy."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import psycopg
from botocore.exceptions import ClientError
from psycopg import sql

from runbooks.lab.background import INSTANCE, MASTER, control, down, up
from tests.soak.server import ORACLE, Place

FOREIGN = "rowback-20200101-000000-aaaa"
DEADLINE_S = 90.0
STRANGER: Mapping[str, Any] = {
    "Engine": "postgres",
    "DBInstanceClass": "db.t3.micro",
    "AllocatedStorage": 20,
    "MasterUsername": "postgres",
    "MasterUserPassword": secrets.token_hex(8),
    "BackupRetentionPeriod": 0,
}


@dataclass(frozen=True)
class LabServer:
    """The lab as a schedule sees it."""

    root: Path
    port: int
    token: str
    exports: Mapping[str, str]
    rds: Any
    before: Mapping[str, Any]

    @property
    def instance_port(self) -> int:
        """The original's port."""
        return int(self.exports["PGPORT"])

    def place(self, database: str = "postgres") -> Place:
        """A database of the original."""
        return Place(self.instance_port, database, MASTER, self.exports["PGPASSWORD"])

    def create(self, name: str) -> None:
        """A new database on the original."""
        with self.place().connect(ORACLE) as master:
            master.execute(sql.SQL("create database {}").format(sql.Identifier(name)))

    def drop(self, name: str) -> None:
        """Remove it with every session in it."""
        with self.place().connect(ORACLE) as master:
            master.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))

    def order(self, verb: str, **body: object) -> None:
        """Order a fault."""
        control({"port": self.port, "token": self.token}, verb, body)

    def instances(self) -> dict[str, Any]:
        """What DescribeDBInstances shows; errors that were ordered are passed over."""
        shown: list[Any] = self.asked(lambda: self.rds.describe_db_instances()["DBInstances"])
        return {each["DBInstanceIdentifier"]: each for each in shown}

    def asked(self, ask: Callable[[], Any]) -> Any:
        """Ask RDS until it answers."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                return ask()
            except ClientError:
                if time.monotonic() > deadline:
                    raise

    def crash(self) -> None:
        """End the original's engine at once and have RDS start it again."""
        for path in (self.root / "i").glob("*/data/postmaster.pid"):
            lines = path.read_text().splitlines()
            if int(lines[3]) == self.instance_port:
                os.kill(int(lines[0]), signal.SIGQUIT)
        self.restart()

    def restart(self) -> None:
        """RebootDBInstance."""
        self.asked(lambda: self.rds.reboot_db_instance(DBInstanceIdentifier=INSTANCE))

    def delete(self, identifier: str) -> bool:
        """Delete somebody's instance; whether there was one."""
        if identifier not in self.instances():
            return False
        self.asked(lambda: self.rds.delete_db_instance(DBInstanceIdentifier=identifier, SkipFinalSnapshot=True))
        return True

    def disguise(self, case: str) -> None:
        """Give somebody else's instance the tags of a copy of `case` that expired long ago."""
        tags = {"rowback:managed": "true", "rowback:case": case, "rowback:expires": "2020-01-01T00:00:00Z"}
        arn = self.instances()[FOREIGN]["DBInstanceArn"]
        named = [{"Key": name, "Value": value} for name, value in tags.items()]
        self.asked(lambda: self.rds.add_tags_to_resource(ResourceName=arn, Tags=named))

    def impersonate(self, case: str) -> None:
        """Somebody makes an instance with the name and the tags of the copy of `case`."""
        tags = {"rowback:managed": "true", "rowback:case": case}
        named = [{"Key": name, "Value": value} for name, value in tags.items()]
        self.asked(lambda: self.rds.create_db_instance(**STRANGER, DBInstanceIdentifier=f"rowback-{case}", Tags=named))
        self.wait_for(f"rowback-{case}", "available")

    def wait_for(self, identifier: str, status: str | None) -> None:
        """Until an instance has a status, or is gone (None)."""
        deadline = time.monotonic() + DEADLINE_S
        while self.instances().get(identifier, {}).get("DBInstanceStatus") != status:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{identifier} was not {status or 'gone'} within {DEADLINE_S:.0f} s")

    def wait_available(self) -> None:
        """Until the original answers again."""
        deadline = time.monotonic() + DEADLINE_S
        while self.instances()[INSTANCE]["DBInstanceStatus"] != "available" or not self._answers():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{INSTANCE} was not available within {DEADLINE_S:.0f} s")

    def _answers(self) -> bool:
        try:
            self.place().connect(ORACLE).close()
        except psycopg.OperationalError:
            return False
        return True

    def strange(self) -> Iterator[str]:
        """Instances that are left or gone, and facts of the original that changed."""
        now = self.instances()
        yield from (
            f"instance {name} is left: {now[name]['DBInstanceStatus']}" for name in now.keys() - self.before.keys()
        )
        yield from (f"instance {name} is gone, and was not rowback's" for name in self.before.keys() - now.keys())
        for name in self.before.keys() & now.keys():
            for fact in ("DbiResourceId", "DBInstanceStatus", "BackupRetentionPeriod", "DeletionProtection"):
                if now[name].get(fact) != self.before[name].get(fact):
                    yield f"{fact} of {name} was {self.before[name].get(fact)} and is {now[name].get(fact)}"


@contextmanager
def lab_running() -> Iterator[LabServer]:
    """A lab while the block lasts."""
    root = Path(tempfile.mkdtemp(prefix="rowback-soak-lab-")) / "lab"
    root.parent.chmod(0o755)  # PostgreSQL runs as another account and must be able to pass through
    try:
        state = up(root, articles=10, seed=1)
        exports = state["exports"]
        rds = boto3.client(
            "rds",
            endpoint_url=exports["AWS_ENDPOINT_URL"],
            region_name=exports["AWS_DEFAULT_REGION"],
            aws_access_key_id="lab",
            aws_secret_access_key="lab",
        )
        rds.create_db_instance(**STRANGER, DBInstanceIdentifier=FOREIGN)
        lab = LabServer(root, int(state["port"]), str(state["token"]), exports, rds, {})
        lab.wait_for(FOREIGN, "available")
        yield LabServer(root, lab.port, lab.token, exports, rds, lab.instances())
    finally:
        down(root)
        shutil.rmtree(root.parent, ignore_errors=True)
