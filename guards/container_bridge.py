"""Whether an address is that of a container next to us: behind a virtual cable, or on a bridge of such cables alone.

What CI calls a service container is reached so, under whatever name. A bridge with a physical port leads to a whole
network, and the gateway's own address to whatever the host forwards there: neither is next door (sources:
GUARD-neighbours). Linux only; elsewhere nothing is proven.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from guards.process_table import read

ROUTES = Path("/proc/net/route")
NEIGHBOURS = Path("/proc/net/arp")
DEVICES = Path("/sys/class/net")
# Columns of /proc/net/route.
_DEVICE, _DESTINATION, _GATEWAY, _MASK = 0, 1, 2, 7
# rtnetlink (linux/rtnetlink.h, linux/if_link.h): ask for one link; its kind is an attribute inside another.
_RTM_GETLINK, _NLM_F_REQUEST, _IFLA_LINKINFO, _IFLA_INFO_KIND = 18, 1, 18, 1
_HEADERS = 32  # nlmsghdr and ifinfomsg
_LOCALLY_ADMINISTERED = 0x02  # a bit of the first byte of a hardware address; those of real devices lack it


@dataclass(frozen=True)
class _Route:
    device: str
    network: ipaddress.IPv4Network
    gateway: ipaddress.IPv4Address | None


def next_door(address: str) -> str | None:
    """The device that leads to the container with that IPv4 address; None where it is not proven to be one."""
    try:
        server = ipaddress.IPv4Address(address)
    except ValueError:
        return None
    routes = list(_routes())
    if server in [route.gateway for route in routes]:
        return None
    for route in routes:
        if route.gateway is None and route.network.prefixlen and server in route.network:
            return route.device if _leads_to_containers(route.device, server, routes) else None
    return None


def _leads_to_containers(device: str, address: ipaddress.IPv4Address, routes: list[_Route]) -> bool:
    match kind_of(device):
        case "bridge":
            ports = [port.name for port in (DEVICES / device / "brif").glob("*")]
            return bool(ports) and all(kind_of(port) == "veth" for port in ports)
        case "veth":  # the other end may be a port of a bridge that we cannot see: its members' addresses tell
            gateways = [route.gateway for route in routes if route.gateway and route.device == device]
            return all(_made_up(_hardware_address(each)) for each in (address, *gateways))
        case _:
            return False


def kind_of(device: str) -> str:
    """What the kernel calls a network device: bridge, veth, macvlan, vlan …; empty for a physical one."""
    try:
        index = socket.if_nametoindex(device)
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
            netlink.settimeout(1)
            netlink.send(
                struct.pack("=IHHII", _HEADERS, _RTM_GETLINK, _NLM_F_REQUEST, 1, 0)
                + struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, 0, 0)
            )
            answer = netlink.recv(65536)
    except (OSError, AttributeError):
        return ""
    info = dict(_attributes(answer[_HEADERS:])).get(_IFLA_LINKINFO, b"")
    return dict(_attributes(info)).get(_IFLA_INFO_KIND, b"").rstrip(b"\0").decode()


def _attributes(packed: bytes) -> Iterator[tuple[int, bytes]]:
    while len(packed) >= 4:
        length, kind = struct.unpack_from("=HH", packed)
        if length < 4:
            return
        yield kind & 0x3FFF, packed[4:length]
        packed = packed[(length + 3) & ~3 :]


def _routes() -> Iterator[_Route]:
    for line in read(ROUTES).splitlines()[1:]:
        row = line.split()
        if len(row) > _MASK:
            network = ipaddress.IPv4Network(f"{_address(row[_DESTINATION])}/{_address(row[_MASK])}", strict=False)
            gateway = _address(row[_GATEWAY])
            yield _Route(row[_DEVICE], network, gateway if int(gateway) else None)


def _address(hexadecimal: str) -> ipaddress.IPv4Address:
    """The kernel prints the four bytes as one number of this machine's byte order."""
    return ipaddress.IPv4Address(struct.pack("=I", int(hexadecimal, 16)))


def _hardware_address(address: ipaddress.IPv4Address) -> str:
    """As the kernel learned it when it sent something there; empty where it did not."""
    rows = [line.split() for line in read(NEIGHBOURS).splitlines()[1:]]
    return next((row[3] for row in rows if len(row) > 3 and row[0] == str(address)), "")


def _made_up(hardware_address: str) -> bool:
    """Whether software chose it, as for virtual cables and bridges of them; a gateway that was never asked counts."""
    return not hardware_address or bool(int(hardware_address[:2], 16) & _LOCALLY_ADMINISTERED)
