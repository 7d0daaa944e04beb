"""Whose certificate a server shows, asked before any password is sent: SSLRequest, handshake, and good-bye.

A tunnel ends on localhost, but the certificate that comes through it still names where it leads
(sources: GUARD-identity). Nothing is verified: a name in it speaks against a database, never for one.
"""

from __future__ import annotations

import re
import socket
import ssl
from functools import lru_cache

# PostgreSQL's frontend/backend protocol, «SSLRequest»: length 8, code 80877103.
SSL_REQUEST = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")
TIMEOUT_S = 2.0
PROVIDERS = {
    "rds.amazonaws.com": "Amazon RDS",
    "amazonaws.com": "Amazon Web Services",
    "database.azure.com": "Azure Database",
    "sql.goog": "Cloud SQL",
    "Google Cloud SQL": "Cloud SQL",
    "neon.tech": "Neon",
    "supabase.co": "Supabase",
    "supabase.com": "Supabase",
    "ondigitalocean.com": "DigitalOcean",
    "aivencloud.com": "Aiven",
    "timescale.com": "Timescale",
    "tsdb.cloud.timescale": "Timescale",
    "postgresbridge.com": "Crunchy Bridge",
    "crunchybridge": "Crunchy Bridge",
    "heroku": "Heroku",
    "databases.appdomain.cloud": "IBM Cloud",
    "psdb.cloud": "PlanetScale",
}
# DER (ITU-T X.690): a string's tag and the octets of its length, in front of each name.
_STRINGS = re.compile(rb"[\x0c\x13\x16\x82](?:\x81)?([\x04-\xff])")
_NAME = re.compile(r"[A-Za-z0-9*][A-Za-z0-9*._: -]{3,252}")


def certified(host: str, port: int) -> str | None:
    """«name (provider)» when the certificate of `host`:`port` is one of a managed service; None otherwise.

    `host`: an address, or the directory of a unix socket. Never raises: a server without TLS tells nothing.
    """
    names = certificate_names(host, port)
    for domain, provider in PROVIDERS.items():
        if certified_name := next((name for name in names if domain in name), None):
            return f"{certified_name} ({provider})"
    return None


@lru_cache(maxsize=64)
def certificate_names(host: str, port: int) -> tuple[str, ...]:
    """The names in the server's certificate, as they stand in it; empty when it shows none."""
    try:
        with _dialled(host, port) as plain:
            plain.sendall(SSL_REQUEST)
            if plain.recv(1) != b"S":
                return ()
            with _unverified().wrap_socket(plain) as secured:
                encoded = secured.getpeercert(binary_form=True) or b""
    except (OSError, UnicodeError, OverflowError):  # a name that no resolver takes, a port that none has
        return ()
    texts = (encoded[at.end() : at.end() + at[1][0]].decode("ascii", "replace") for at in _STRINGS.finditer(encoded))
    return tuple(
        name for name in dict.fromkeys(texts) if _NAME.fullmatch(name) and ("." in name or "Cloud SQL" in name)
    )


def _dialled(host: str, port: int) -> socket.socket:
    if not host.startswith("/"):
        return socket.create_connection((host, port), timeout=TIMEOUT_S)
    plain = socket.socket(socket.AF_UNIX)
    plain.settimeout(TIMEOUT_S)
    try:
        plain.connect(f"{host}/.s.PGSQL.{port}")
    except OSError:
        plain.close()
        raise
    return plain


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
