"""How a connection is written down: libpq's words, and never a password."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

SHOWN = ("service", "host", "hostaddr", "port", "dbname", "user")


def conninfo_of(parameters: Mapping[str, Any]) -> str:
    """Where a connection led in the end, in libpq's words: what a service file or a variable said is resolved."""
    return shown({key: value for key, value in parameters.items() if key != "service"})


def shown(parameters: Mapping[str, Any]) -> str:
    """How to connect, as it may be printed: without the password."""
    parts = [f"{key}={conninfo_value(str(parameters[key]))}" for key in SHOWN if parameters.get(key)]
    return " ".join(parts) or "libpq's own variables"


def conninfo_value(value: str) -> str:
    """A value as connection strings have it: quoted where it must be."""
    if re.fullmatch(r"[^\s'\\]+", value):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
