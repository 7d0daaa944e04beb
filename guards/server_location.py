"""Where a server runs and whence its sessions come, by what this machine knows of our connection to it.

It costs a walk over /proc where the server is in a container or elsewhere, so it is asked only of databases of which
neither a mark nor an allowance says anything, and once for each server that is not here.
"""

from __future__ import annotations

import ipaddress
from dataclasses import replace

from guards.container_bridge import next_door
from guards.same_kernel import client_of, is_direct, peer_of, runs_here
from guards.server_evidence import EVIDENCE_QUERY, Evidence, Link, OtherSession, Wire, as_text, evidence_of


def gather(connection: Wire) -> Evidence:
    """Ask the server and this machine. Raises what the driver raises; nothing is changed."""
    row = connection.execute(EVIDENCE_QUERY).fetchone()
    assert row is not None  # a session is always in a database
    return located(evidence_of(as_text(row), connection.link), connection.link)


def located(evidence: Evidence, link: Link, *, not_here: bool = False) -> Evidence:
    """The same with what this machine tells: where the server runs, and whence its other sessions come.

    `not_here`: it was looked for among the processes of this machine before, and is not there.
    """
    client, server = evidence.ends
    pid = link.key_pid if not evidence.pooled else 0
    on_this_kernel = None if not_here or not pid else runs_here(link.fd, pid, client, server)
    address, _ = peer_of(link.fd)
    direct = not on_this_kernel and is_direct(link.fd, client, server)
    near = bool(on_this_kernel and on_this_kernel.startswith("backend")) or evidence.ends[0] is None
    foreign = [each for each in evidence.others if each.follows or not _like_ours(each, evidence)]
    return replace(
        evidence,
        on_this_kernel=on_this_kernel,
        next_door=next_door(address) if direct else None,
        foreign_sessions=sum(not each.follows for each in foreign),
        replicas=sum(each.follows for each in foreign),
        from_afar=sum(not _is_near(each, processes_visible=near) for each in foreign),
    )


def _like_ours(other: OtherSession, evidence: Evidence) -> bool:
    """Of our role and from our place: a unix socket and loopback are one."""
    return other.same_role and not other.hidden and _place(other.client) == _place(evidence.ends[0])


def _place(client: str | None) -> str:
    address = (client or "").partition("(")[0]
    return "" if not address or ipaddress.ip_address(address).is_loopback else address


def _is_near(other: OtherSession, *, processes_visible: bool) -> bool:
    """Whether a session comes from this machine or from a container on it.

    `processes_visible`: its server's processes are ours to look at.
    """
    client = other.client if not other.hidden else (client_of(other.pid) if processes_visible else None)
    if client is None:
        return not other.hidden
    place = "" if client == "[local]" else _place(client)
    return not place or next_door(place) is not None
