"""Whether a server sits on a bridge of this machine, or on the other end of a virtual cable: a container.

What CI calls a service container is reached so, under whatever name (facts/guards.md §3b). It proves little by itself:
another machine may use the same private addresses. Linux only; elsewhere nothing is proven.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator
from pathlib import Path

ROUTES = Path("/proc/net/route")
DEVICES = Path("/sys/class/net")
# Columns of /proc/net/route.
_DEVICE, _DESTINATION, _GATEWAY, _MASK = 0, 1, 2, 7


def next_door(address: str) -> str | None:
    """The device through which `address` (IPv4) is reached without a router, if it is a bridge or one end of a pair."""
    try:
        wanted = ipaddress.IPv4Address(address)
    except ValueError:
        return None
    return next((name for name, network in _on_link() if wanted in network and _virtual(name)), None)


def _on_link() -> Iterator[tuple[str, ipaddress.IPv4Network]]:
    try:
        rows = [line.split() for line in ROUTES.read_text().splitlines()[1:]]
    except OSError:
        return
    for row in rows:
        if len(row) > _MASK and int(row[_GATEWAY], 16) == 0 and int(row[_MASK], 16):
            network = f"{_address(row[_DESTINATION])}/{_address(row[_MASK])}"
            yield row[_DEVICE], ipaddress.IPv4Network(network, strict=False)


def _address(hexadecimal: str) -> ipaddress.IPv4Address:
    """The kernel prints the four bytes as one number of this machine's byte order."""
    return ipaddress.IPv4Address(struct.pack("=I", int(hexadecimal, 16)))


def _virtual(device: str) -> bool:
    home = DEVICES / device
    try:
        # The two ends of a virtual pair name each other; a real device names itself.
        return (home / "bridge").is_dir() or (home / "iflink").read_text() != (home / "ifindex").read_text()
    except OSError:
        return False
