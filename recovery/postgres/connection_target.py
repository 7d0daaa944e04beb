"""How one database is reached: host, login, TLS, and the parameters for libpq."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError
from recovery.model.instance import Endpoint
from recovery.postgres.tunnel import LOOPBACK, local_port

CONNECT_TIMEOUT_S = 15

APPLICATION = "rowback"

# A peer that is gone without a word is noticed within half a minute, whatever the query is waiting for.
KEEPALIVE: Mapping[str, str] = {
    "keepalives": "1",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "25000",
}


@dataclass(frozen=True)
class Target:
    """How to reach one database. `password` None leaves the search to libpq (PGPASSWORD, ~/.pgpass, service).

    `tunnel`: the program through which the server is reached (tunnel.py); empty where it is reached directly.
    """

    label: str
    endpoint: Endpoint
    database: str
    user: str
    password: str | None = field(default=None, repr=False)
    service: str | None = None
    ca_bundle: Path | None = None
    sslmode: str | None = None
    application: str = APPLICATION
    tunnel: tuple[str, ...] = ()

    def named(self, application: str) -> Target:
        """The same database, under another application_name."""
        return replace(self, application=application)

    def to(self, database: str) -> Target:
        """The same server, another database."""
        return replace(self, database=database)

    def parameters(self) -> dict[str, str]:
        """Libpq's keywords. Away from loopback the server must prove its name: verify-full, with the CA bundle.

        Through a tunnel it must prove the same name, which RDS gave it. Raises what `local_port` does.
        """
        host, port = self.endpoint.host, self.endpoint.port
        values = {
            "host": host,
            "port": str(port),
            "dbname": self.database,
            "user": self.user,
            "connect_timeout": str(CONNECT_TIMEOUT_S),
            "application_name": self.application,
            **KEEPALIVE,
        }
        mode = self.sslmode or ("prefer" if is_loopback(host) else "verify-full")
        values["sslmode"] = mode
        if mode.startswith("verify"):
            values["sslrootcert"] = str(self._bundle())
        if self.tunnel:
            values["hostaddr"] = LOOPBACK
            values["port"] = str(local_port(self.tunnel, self.endpoint, self.label))
        if self.service:
            values["service"] = self.service
        if self.password is not None:
            values["password"] = self.password
        return values

    @property
    def named_bundle(self) -> Path:
        """The file that is named, or libpq's default."""
        return self.ca_bundle or Path(os.environ.get("PGSSLROOTCERT") or Path.home() / ".postgresql" / "root.crt")

    def _bundle(self) -> Path:
        bundle = self.named_bundle
        if not bundle.is_file():
            raise RowbackError(
                ErrorId.CONFIG_INVALID,
                f"the CA bundle to verify '{self.endpoint.host}' with is missing: {bundle}",
                state=NOTHING_CREATED,
                help=f"download RDS's global-bundle.pem {_of_partition(self.endpoint.host)}and name it with ca_bundle"
                " in rowback.toml or PGSSLROOTCERT",
            )
        return bundle


def _of_partition(host: str) -> str:
    """Other partitions of AWS have certificate authorities of their own."""
    if host.endswith(".amazonaws.com.cn"):
        return "of the China regions, which is another one, "
    if ".us-gov-" in host:
        return "of AWS GovCloud (US), which is another one, "
    return ""


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine. Decides only about TLS, never about what may be destroyed."""
    if host == "localhost" or host.startswith("/"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
