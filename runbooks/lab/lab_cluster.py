"""One real PostgreSQL cluster: initdb, WAL archive, base backup, recovery to a target time, start and stop.

Knows nothing of AWS. Settings and their reasons: sources: LAB-recovery.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from guards.isolation.server_programs import PostgresError, Tools, free_port

CONFIGURATION = """\
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{socket}'
shared_buffers = 32MB
jit = off
# fsync off survives kill -9 of every process; only a crash of the machine loses this lab.
fsync = off
wal_level = replica
max_wal_senders = 4
archive_mode = on
archive_command = 'test ! -f {archive}/%f && cp -p %p {archive}/%f.tmp && mv {archive}/%f.tmp {archive}/%f'
checkpoint_timeout = 30min
min_wal_size = 8MB
max_wal_size = 1GB
hot_standby = off
logging_collector = on
log_directory = '{log}'
log_filename = 'postgresql.log.%Y-%m-%d-%H'
log_rotation_age = 60
log_file_mode = 0640
log_line_prefix = '%t:%r:%u@%d:[%p]:'
log_timezone = 'UTC'
timezone = 'UTC'
"""

ACCESS = """\
local all,replication rdsadmin trust
host all rdsadmin all reject
host{tls} all +rds_iam 127.0.0.1/32 {iam}
host{tls} all all 127.0.0.1/32 scram-sha-256
"""


class LabError(PostgresError):
    """Something the lab needs is missing or refused; the text says what to do."""


@dataclass(frozen=True)
class Certificate:
    """Server certificate and key (PEM) that clients can verify against the lab's CA."""

    certificate: str
    key: str


@dataclass
class Cluster:
    """A cluster below `root`; `port` is fixed once it first started.

    `tokens`: members of rds_iam are let in, by tokens that the lab does not verify. Else nothing lets them in: where
    IAM authentication is off RDS asks for a token all the same.
    """

    tools: Tools
    root: Path
    port: int = 0
    certificate: Certificate | None = None
    settings: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    tokens: bool = False
    _tether: subprocess.Popen[bytes] | None = None
    _recovery: str = ""

    @property
    def data(self) -> Path:
        """PGDATA."""
        return self.root / "data"

    @property
    def archive(self) -> Path:
        """The WAL archive: the part of a backup that outlives the cluster."""
        return self.root / "wal"

    @property
    def log(self) -> Path:
        """Server log files, one an hour, named as RDS names them."""
        return self.root / "error"

    @property
    def socket(self) -> Path:
        """Socket directory; short, because a socket path ends at 107 bytes."""
        return self.root / "s"

    def initialise(self) -> None:
        """Create an empty cluster owned by the local-only superuser rdsadmin."""
        self._directories()
        self.tools.run(
            "initdb",
            "-D",
            self.data,
            "-U",
            "rdsadmin",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
            "--no-instructions",
            "--wal-segsize=1",
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
        )

    def recover_from(self, base: Path, archive: Path, target: datetime | None) -> None:
        """Fill PGDATA from base backup `base` and make the next start replay `archive` up to `target`, then promote.

        `target` None means the consistent end of the base backup itself (a snapshot restore).
        PostgreSQL does not check `target` against the backup: the caller must (sources: LAB-recovery).
        """
        self._directories()
        subprocess.run(["/bin/cp", "-a", "--", str(base), str(self.data)], check=True)
        goal = f"recovery_target_time = '{target.isoformat()}'" if target else "recovery_target = 'immediate'"
        self._recovery = f"restore_command = 'cp {archive}/%f %p'\n{goal}\nrecovery_target_action = 'promote'\n"
        signal_file = self.data / "recovery.signal"
        signal_file.touch()
        self.tools.own(signal_file)

    def start(self) -> None:
        """Start and return when the cluster accepts connections (after promotion, when recovering).

        Raises LabError with the server's last words when it ends instead.
        """
        for _ in range(5):
            self.port = self.port or free_port()
            self.configure()
            self.process = self.tools.start("postgres", "-D", self.data, log=self.root / "boot.log")
            self._tether = self.tools.die_with_us(self.process.pid)
            try:
                self._await_ready()
            except _PortTakenError:
                self.port = 0
                continue
            self._recovery = ""
            return
        raise LabError("no free port on loopback after 5 tries")

    def configure(self) -> None:
        """Write the lab's settings; the server reads them at start or `reload`."""
        chosen = "".join(f"{name} = '{value}'\n" for name, value in sorted(self.settings.items()))
        body = (
            CONFIGURATION.format(port=self.port, socket=self.socket, archive=self.archive, log=self.log)
            + self._tls_settings()
        )
        self._write("lab.conf", body + chosen + self._recovery)
        demanded = self.settings.get("rds.force_ssl", "0") == "1"
        self._write(
            "pg_hba.conf", ACCESS.format(tls="ssl" if demanded else "", iam="trust" if self.tokens else "reject")
        )
        main = self.data / "postgresql.conf"
        if "lab.conf" not in (text := main.read_text()):
            main.write_text(text + "\ninclude 'lab.conf'\n")

    def reload(self) -> None:
        """Write the settings and have the running server take those that need no restart."""
        self.configure()
        if self.process:
            self.process.send_signal(signal.SIGHUP)

    def base_backup(self, destination: Path) -> None:
        """Take a base backup into `destination`. `-X fetch`: `-X none` waits a second for the archiver."""
        self.tools.run(
            "pg_basebackup",
            "-h",
            self.socket,
            "-p",
            str(self.port),
            "-U",
            "rdsadmin",
            "-D",
            destination,
            "-c",
            "fast",
            "-X",
            "fetch",
            "--no-sync",
            "--no-manifest",
        )

    def dsn(self, database: str = "postgres") -> str:
        """How the lab itself connects: as rdsadmin over the socket that only this machine's lab can reach."""
        return f"host={self.socket} port={self.port} user=rdsadmin dbname={database}"

    def alive(self) -> bool:
        """Whether the postmaster runs."""
        return self.process is not None and self.process.poll() is None

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop (SIGINT: fast with a checkpoint, SIGQUIT: at once) and wait until the postmaster is gone."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        # Taken at once: an instance may be deleted while the whole lab closes.
        tether, self._tether = self._tether, None
        if tether:
            tether.kill()
            tether.wait()
            if tether.stdin:
                tether.stdin.close()

    def discard(self, *, keep_backups: bool) -> None:
        """Stop at once and remove the files; `keep_backups` leaves the WAL archive."""
        self.stop(signal.SIGQUIT)
        for path in (self.data, self.log, self.socket):
            shutil.rmtree(path, ignore_errors=True)
        if not keep_backups:
            shutil.rmtree(self.root, ignore_errors=True)

    def _directories(self) -> None:
        self.tools.give(self.root, self.archive, self.log, self.socket)

    def _tls_settings(self) -> str:
        if self.certificate is None:
            return ""
        for name, text in (
            ("server.crt", self.certificate.certificate),
            ("server.key", self.certificate.key),
        ):
            self._write(name, text)
        return "ssl = on\nssl_cert_file = 'server.crt'\nssl_key_file = 'server.key'\n"

    def _write(self, name: str, text: str) -> None:
        path = self.data / name
        path.write_text(text)
        self.tools.own(path)
        path.chmod(0o600)

    def _await_ready(self) -> None:
        assert self.process
        try:
            self.tools.await_ready(self.process, self.data)
        except PostgresError as error:
            words = self._last_words()
            if "could not bind" in words or "Address already in use" in words:
                (self.root / "boot.log").unlink()
                raise _PortTakenError from error
            raise LabError(f"{error}: {words}") from error

    def _last_words(self) -> str:
        files = [self.root / "boot.log", *sorted(self.log.glob("*"))[-1:]]
        return "\n".join(path.read_text(errors="replace")[-2000:] for path in files if path.exists())


class _PortTakenError(Exception):
    """Another process took the port between our look and the server's bind."""
