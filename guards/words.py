"""How a connection is written down: libpq's words, and never a password."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SHOWN = ("service", "host", "hostaddr", "port", "dbname", "user")


def way_of(parameters: Mapping[str, Any]) -> str:
    """Where a connection led in the end, in libpq's words: what a service file or a variable said is resolved."""
    return shown({key: value for key, value in parameters.items() if key != "service"})


def shown(parameters: Mapping[str, Any]) -> str:
    """How to connect, as it may be printed: without the password."""
    return " ".join(f"{key}={parameters[key]}" for key in SHOWN if parameters.get(key)) or "libpq's own variables"
