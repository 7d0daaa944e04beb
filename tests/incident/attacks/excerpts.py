"""Excerpts of logs, and what find says of them."""

from __future__ import annotations

AUTHORIZED = "LOG:  connection authorized: user=app database=db"


CLOSED = "LOG:  disconnection: session time: 0:00:01"


def said(text: str) -> str:
    return f"LOG:  statement: {text}"


def log(*messages: str, pid: int = 7, role: str = "app", minute: int = 0, zone: str = "UTC") -> str:
    return "".join(
        f"2026-11-22 14:{minute:02d}:{second:02d} {zone}:1.1.1.1(5):{role}@db:[{pid}]:{message}\n"
        for second, message in enumerate(messages)
    )
