"""How fast blocks of a restored volume come when they are first read: by key, in one session, in several."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from recovery.postgres.connect import Session, connect, one
from recovery.postgres.connection_target import Target
from runbooks.acceptance.assumptions import Answer
from runbooks.acceptance.findings import Findings

KEYS, SESSIONS = 50, 8
LEAST_MIB = 256  # fewer are over before a rate is one
SLOWEST_MIB_S, FASTEST_MIB_S, GAIN = 15.0, 150.0, 2.0
PAGE_MIB = 8192 / 2**20


def measure_first_reads(way: Callable[[], Target], findings: Findings) -> None:
    """Read table `blocks` of the copy, each block for the first time. Settles 9."""
    with connect(way()) as copy:
        pages = int(one(copy, "select pg_relation_size('public.blocks') / 8192"))
        by_key_ms = _by_key(copy, int(one(copy, "select reltuples::bigint from pg_class where relname = 'blocks'")))
    half = pages // 2
    alone = _rate([(0, half)], way)
    together = _rate(_shares(half, pages), way)
    seen = (
        f"{pages * PAGE_MIB:,.0f} MiB: {by_key_ms:.1f} ms a key, {alone:,.0f} MiB/s in one session,"
        f" {together:,.0f} in {SESSIONS}"
    )
    if pages * PAGE_MIB < LEAST_MIB:
        findings.settle(9, Answer.UNKNOWN, f"{seen}; fewer than {LEAST_MIB} MiB say nothing of a rate")
        return
    findings.judge(9, holds=SLOWEST_MIB_S <= alone <= FASTEST_MIB_S and together >= GAIN * alone, seen=seen)


def _by_key(copy: Session, rows: int) -> float:
    keys = random.Random(7).sample(range(1, max(rows, KEYS) + 1), KEYS)  # noqa: S311 (which blocks are read)
    began = time.monotonic()
    for key in keys:
        copy.execute("select filler from public.blocks where id = %s", (key,)).fetchone()
    return (time.monotonic() - began) * 1000 / KEYS


def _shares(first: int, last: int) -> list[tuple[int, int]]:
    size = max(1, (last - first) // SESSIONS + 1)
    return [(begin, min(begin + size, last)) for begin in range(first, last, size)]


def _rate(shares: list[tuple[int, int]], way: Callable[[], Target]) -> float:
    """MiB a second over all shares, each read in a session of its own."""
    began = time.monotonic()
    with ThreadPoolExecutor(len(shares) or 1) as pool:
        list(pool.map(lambda share: _read(way, share), shares))
    read_mib = sum(end - begin for begin, end in shares) * PAGE_MIB
    return read_mib / max(time.monotonic() - began, 1e-6)


def _read(way: Callable[[], Target], share: tuple[int, int]) -> None:
    begin, end = (f"({page},0)" for page in share)
    with connect(way()) as session:
        session.execute(
            "select sum(length(filler)) from public.blocks where ctid >= %s::tid and ctid < %s::tid", (begin, end)
        )
