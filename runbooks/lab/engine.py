"""The life of lab instances: create, back up, restore, modify, delete. Nothing of AWS's wire format."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, LiteralString

import psycopg

from guards.isolation.server_programs import PostgresError, Tools
from runbooks.lab.classes import most_connections
from runbooks.lab.lab_cluster import Certificate, Cluster, LabError
from runbooks.lab.lab_state import BaseBackup, Faults, Instance, LabEvent, Parameters, Snapshot, SubnetGroup, utc_now
from runbooks.lab.roles import furnish, set_master_password

ARCHIVE_DEADLINE_S = 30.0
BEAT_EVERY_S = 0.25
FRESH_BACKUP_SEGMENTS = 48
PASSWORD_UNSEEN_S = 0.15
OWN_TRANSACTIONS = 40  # of rdsadmin in a restored instance, before its first checkpoint


class Engine:
    """All instances of one lab. Methods that take time start it in the background and return at once, like RDS."""

    def __init__(self, root: Path, tools: Tools, certificate: Certificate | None) -> None:
        self.root, self.tools, self.certificate = root, tools, certificate
        self.instances: dict[str, Instance] = {}
        self.retained: dict[str, Instance] = {}
        self.snapshots: dict[str, Snapshot] = {}
        self.events: list[LabEvent] = []
        self.faults = Faults()
        family = f"postgres{tools.major}"
        self.parameters = {
            f"default.{family}": Parameters(f"default.{family}", family, f"Default parameter group for {family}")
        }
        self.subnet_groups = {"default": SubnetGroup("default", "default", "vpc-lab", ("subnet-a", "subnet-b"))}
        self.lock = threading.RLock()
        self._jobs: list[threading.Thread] = []
        self._closing = threading.Event()
        self._last_beat: dict[str, float] = {}

    @property
    def default_parameters(self) -> Parameters:
        """The parameter group of an instance that is created without one."""
        return self.parameters[f"default.postgres{self.tools.major}"]

    def new_cluster(self, resource_id: str) -> Cluster:
        """A cluster with a directory of its own; nothing is on disk yet."""
        return Cluster(self.tools, self.root / resource_id[-12:].lower(), certificate=self.certificate)

    def effective_settings(self, instance: Instance) -> dict[str, str]:
        """PostgreSQL settings of an instance.

        RDS's defaults, by its class where they depend on it, then its group's values.
        """
        settings = {
            "rds.force_ssl": "1" if self.tools.major >= 15 and self.certificate else "0",
            "log_statement": "none",
            "max_connections": str(most_connections(str(instance.attributes["DBInstanceClass"]))),
            **instance.parameters.values,
        }
        if settings.get("rds.logical_replication") == "1":
            settings["wal_level"] = "logical"
        return settings

    def create(self, instance: Instance, password: str) -> None:
        """Begin creating an empty instance."""

        def work() -> None:
            instance.cluster.initialise()
            self._start(instance)
            furnish(instance.cluster, master=instance.master, password=password, database=instance.database)
            self._announce(instance, "DB instance created", "creation")
            self._first_backup(instance)

        self._adopt(instance, work)

    def restore(self, instance: Instance, base: Path, archive: Path, target: datetime | None, event: str) -> None:
        """Begin restoring `instance` from `base`, replaying `archive` up to `target` (None: a snapshot)."""

        def work() -> None:
            if outcome := self.faults.take_restore():
                instance.status = outcome
                self._announce(instance, f"DB instance restore ended in {outcome}", "failure")
                return
            instance.cluster.recover_from(base, archive, target)
            self._start(instance)
            if not self.faults.idle_after_restore:
                self._work_as_rdsadmin(instance)
            self._announce(instance, event, "restoration")
            self._first_backup(instance)

        self._adopt(instance, work, failed="incompatible-restore")

    def take_snapshot(self, instance: Instance, snapshot: Snapshot) -> None:
        """Begin a snapshot; the instance shows `backing-up` meanwhile."""
        self.snapshots[snapshot.identifier] = snapshot
        instance.status = "backing-up"

        def work() -> None:
            self.tools.give(snapshot.path.parent)
            instance.cluster.base_backup(snapshot.path)
            snapshot.status, instance.status = "available", "available"

        self._run(instance, work, failed="available")

    def reset_password(self, instance: Instance, password: str) -> None:
        """Begin changing the master password: asynchronous and without an outage, as on RDS.

        For a moment nothing of it is to be seen, as on RDS.
        """

        def work() -> None:
            self._closing.wait(PASSWORD_UNSEEN_S)
            instance.status = "resetting-master-credentials"
            instance.pending["MasterUserPassword"] = "****"
            set_master_password(instance.cluster, master=instance.master, password=password)
            instance.pending.pop("MasterUserPassword", None)
            instance.status = "available"
            self._announce(instance, "Reset master credentials", "configuration change")

        self._run(instance, work, failed="available")

    def reboot(self, instance: Instance) -> None:
        """Begin a restart, which is when static parameters take effect."""
        instance.status = "rebooting"

        def work() -> None:
            instance.cluster.stop()
            self._start(instance)
            instance.pending_reboot = False
            instance.status = "available"
            self._announce(instance, "DB instance restarted", "availability")

        self._run(instance, work, failed="failed")

    def begin_backups(self, instance: Instance) -> None:
        """Begin keeping backups: RDS restarts the server for it (an outage), and takes the first one at once."""
        instance.status = "modifying"

        def work() -> None:
            instance.cluster.stop()
            self._start(instance)
            self._announce(instance, "DB instance restarted", "availability")
            self._first_backup(instance)

        self._run(instance, work, failed="failed")

    def apply_parameters(self, parameters: Parameters, *, static: bool) -> None:
        """Have every instance of a group read its settings again; static ones wait for a reboot."""
        for instance in list(self.instances.values()):
            if instance.parameters is parameters and instance.cluster.alive():
                instance.cluster.settings = self.effective_settings(instance)
                instance.cluster.reload()
                instance.pending_reboot |= static

    def delete(self, instance: Instance, *, keep_backups: bool) -> None:
        """Begin deleting; `keep_backups` retains the automated backups under the resource id."""
        instance.status = "deleting"

        def work() -> None:
            with instance.lock:
                if keep_backups:
                    self._beat(instance)
                instance.cluster.discard(keep_backups=keep_backups)
            with self.lock:
                self.instances.pop(instance.identifier, None)
                if keep_backups:
                    self.retained[instance.resource_id] = instance
            self._announce(instance, "DB instance deleted", "deletion")

        self._run(instance, work, failed="failed")

    def beat(self, instance: Instance) -> None:
        """Move LatestRestorableTime up to now: RDS does so every 5 minutes, the lab when it is asked."""
        last, now = self._last_beat.get(instance.resource_id, 0.0), time.time()
        # A second that has passed since can be asked for at once: RDS takes whole seconds.
        idle = now - last < BEAT_EVERY_S and int(now) == int(last)
        if idle or instance.status != "available" or not instance.backups:
            return
        if not instance.lock.acquire(blocking=False):
            return
        try:
            began = time.time()
            self._beat(instance)
            self._last_beat[instance.resource_id] = began
        except (psycopg.Error, PostgresError) as error:
            instance.trouble = str(error)
        finally:
            instance.lock.release()

    def _beat(self, instance: Instance) -> None:
        # A commit stamped later than `now` is in the archive, so every T <= now can be reached (sources: LAB-recovery).
        with psycopg.connect(instance.cluster.dsn("rdsadmin"), autocommit=True) as connection:
            now: datetime = _only(connection, "select clock_timestamp()")
            connection.execute("select txid_current()")
            segment: str = _only(connection, "select pg_walfile_name(pg_switch_wal())")
        deadline = time.monotonic() + ARCHIVE_DEADLINE_S
        while not (instance.cluster.archive / segment).exists():
            if time.monotonic() > deadline:
                raise LabError(f"WAL segment {segment} was not archived within {ARCHIVE_DEADLINE_S:.0f} s")
            time.sleep(0.005)
        latest = now - timedelta(seconds=self.faults.restorable_lag_s)
        instance.latest_restorable = latest.replace(microsecond=latest.microsecond // 1000 * 1000)  # as it is shown
        self._refresh_backup(instance)

    def _refresh_backup(self, instance: Instance) -> None:
        """A further automated backup once much WAL has come together, as RDS's daily one: replay stays short."""
        segments = sum(1 for _ in instance.cluster.archive.iterdir())
        if segments - instance.segments_at_backup >= FRESH_BACKUP_SEGMENTS:
            path = instance.cluster.root / f"base-{len(instance.backups)}"
            instance.cluster.base_backup(path)
            instance.backups.append(BaseBackup(utc_now(), path))
            instance.segments_at_backup = segments

    def lose_wal(self, identifier: str) -> Path:
        """Fault: make a hole in the middle of an instance's WAL archive. Returns the file put aside."""
        segments = sorted(path for path in self.instances[identifier].cluster.archive.glob("?" * 24))
        hole = segments[len(segments) // 2]
        return hole.rename(hole.with_suffix(".lost"))

    def close(self) -> None:
        """Stop every cluster and wait for the background work to end."""
        self._closing.set()
        for instance in list(self.instances.values()):
            instance.cluster.discard(keep_backups=False)
        for job in list(self._jobs):
            job.join(30)
        for instance in list(self.instances.values()):
            instance.cluster.discard(keep_backups=False)
        shutil.rmtree(self.root, ignore_errors=True)

    def _adopt(self, instance: Instance, work: Callable[[], None], failed: str = "failed") -> None:
        self.instances[instance.identifier] = instance

        def delayed() -> None:
            if not self._closing.wait(self.faults.creating_delay_s):
                work()

        self._run(instance, delayed, failed=failed)

    def _run(self, instance: Instance, work: Callable[[], None], *, failed: str) -> None:
        def guarded() -> None:
            try:
                with instance.lock:
                    work()
            except (PostgresError, psycopg.Error, OSError, subprocess.SubprocessError) as error:
                if not self._closing.is_set():
                    instance.trouble, instance.status = str(error), failed
                    self._announce(instance, f"{failed}: {error}", "failure")

        job = threading.Thread(target=guarded, name=f"lab-{instance.identifier}", daemon=True)
        self._jobs.append(job)
        job.start()

    def _start(self, instance: Instance) -> None:
        if self._closing.is_set():
            raise LabError("the lab is closing")
        instance.cluster.settings = self.effective_settings(instance)
        instance.cluster.tokens = bool(instance.attributes.get("IAMDatabaseAuthenticationEnabled"))
        instance.cluster.start()
        instance.ready_at = instance.ready_at or utc_now()

    def _work_as_rdsadmin(self, instance: Instance) -> None:
        """RDS writes in what it restored and restarts it, so that no checkpoint names the end of recovery any more."""
        with psycopg.connect(instance.cluster.dsn("rdsadmin"), autocommit=True) as connection:
            for _ in range(OWN_TRANSACTIONS):
                connection.execute("select pg_current_xact_id()")
            connection.execute("checkpoint")

    def _first_backup(self, instance: Instance) -> None:
        if instance.retention_days > 0:
            instance.status = "backing-up"
            self._announce(instance, "Backing up DB instance", "backup")
            path = instance.cluster.root / "base-0"
            instance.cluster.base_backup(path)
            instance.backups.append(BaseBackup(utc_now(), path))
            self._beat(instance)
            self._announce(instance, "Finished DB Instance backup", "backup")
        instance.status = "available"

    def _announce(self, instance: Instance, message: str, category: str) -> None:
        self.events.append(LabEvent(utc_now(), instance.identifier, "db-instance", message, (category,)))


def _only(connection: psycopg.Connection[Any], query: LiteralString) -> Any:
    row = connection.execute(query).fetchone()
    if row is None:
        raise LabError("the server answered with no row")
    return row[0]
