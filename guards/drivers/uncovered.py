"""Drivers of PostgreSQL that no guard stands in front of: what they send is not looked at, so they are named."""

from __future__ import annotations

import sys

from guards.guard_session import Refused, active

# Modules whose import means that PostgreSQL may be reached by them.
UNCOVERED = ("pg8000", "psqlpy", "connectorx", "adbc_driver_postgresql", "pgdb", "psycopg2cffi", "duckdb")
# Reaches PostgreSQL only by an extension, and is imported for other things by most: never refused.
_SELDOM = ("duckdb",)


def name_uncovered(driver: str) -> None:
    """Warn that a driver is not guarded, once; or refuse its import where the policy says so. Raises Refused."""
    guard = active()
    if guard is None:
        return
    what = f"{driver} is imported, and nothing of what it sends is guarded"
    if guard.policy.uncovered_drivers == "refuse" and driver not in _SELDOM:
        refusal = "\n".join(
            [
                f"refused[not-disposable]: {what}",
                "  it was not imported; no statement was sent",
                "  help: use psycopg, psycopg2 or asyncpg; or, where it reaches nothing that can be lost: in"
                ' rowback.toml, [guard] uncovered_drivers = "warn"',
            ]
        )
        guard.refusals.append(refusal)
        raise Refused(refusal)
    seldom = " (its scanner of PostgreSQL)" if driver in _SELDOM else ""
    warning = f"rowback guard: {what}{seldom}"
    if warning not in guard.warnings:
        guard.warnings.append(warning)
        sys.stderr.write(f"{warning}\n")
