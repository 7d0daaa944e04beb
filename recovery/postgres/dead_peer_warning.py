"""A message to the user while a server does not answer because the network swallows what is sent to it.

A query may take hours; a connection whose packets are no longer acknowledged is another matter, and the kernel knows
it: it counts what it sent again and the keepalives that stayed unanswered. It gives up by itself within half a minute
(connect.KEEPALIVE); until then the message says what is waited for.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Generator
from contextlib import closing, suppress
from typing import Any

import psycopg

SILENT_S, AGAIN_S = 10.0, 5.0
LOG = logging.getLogger("rowback")
_READY_NONE = 0  # psycopg's word for: still nothing, but time has passed
_RETRANSMITS, _PROBES = 2, 3  # bytes of Linux's struct tcp_info


def watched_for_silence(gen: Any, blocked: Any, session: psycopg.Connection[Any]) -> Generator[Any, Any, Any]:
    """Go on with psycopg's generator `gen`, which is `blocked`; tell when the peer of `session` has fallen silent."""
    waiting_since = time.monotonic()
    look_at = waiting_since + SILENT_S
    while True:
        ready = yield blocked
        if ready != _READY_NONE:
            waiting_since = time.monotonic()
            look_at = waiting_since + SILENT_S
        elif time.monotonic() > look_at:
            look_at += AGAIN_S
            if unanswered(session):
                _tell(session, time.monotonic() - waiting_since)
        try:
            blocked = gen.send(ready)
        except StopIteration as answered:
            return answered.value


def unanswered(session: psycopg.Connection[Any]) -> bool:
    """Whether the kernel is sending the same again, or its keepalives stay unanswered (Linux; elsewhere never)."""
    with suppress(OSError, AttributeError), closing(socket.socket(fileno=os.dup(session.fileno()))) as peer:
        info = peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)
        return bool(info[_RETRANSMITS] or info[_PROBES])
    return False


def _tell(session: psycopg.Connection[Any], silent_s: float) -> None:
    where = f"{session.info.host}:{session.info.port}"
    LOG.warning(
        "no answer from %s for %.0f s, and the network does not acknowledge what is sent there;"
        " the connection is given up within half a minute",
        where,
        silent_s,
    )
