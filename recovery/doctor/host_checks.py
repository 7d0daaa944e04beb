"""What this machine needs: client programs, a place for the journal, room for a dump, practice."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile

from recovery.config import state_home
from recovery.doctor.context import DoctorContext, Words, listed
from recovery.errors import RowbackError
from recovery.files import make_private
from recovery.model.health_report import Area, Check, State
from recovery.postgres.client_programs import find_client_tools
from recovery.postgres.connection_target import is_loopback
from recovery.store.case_directory import all_cases, unreadable_cases
from recovery.store.drill_history import DRILL_AGE, held_on, rehearse

SAYS = Words(Area.MACHINE)
LEAST_BYTES = 256 * 2**20


def run_checks(context: DoctorContext, database_bytes: int | None) -> Iterator[Check]:
    """All checks of this machine. Where state cannot be kept, what is kept there is not asked for."""
    yield from client_programs(context)
    state_checks = list(state_directory(context))
    yield from state_checks
    if not any(check.state is State.PROBLEM for check in state_checks):
        yield from disk(database_bytes)
        yield from last_drill(context)


def client_programs(context: DoctorContext) -> Iterator[Check]:
    """pg_dump and pg_restore that fit the server."""
    endpoint = context.facts.endpoint
    remote = endpoint is not None and not is_loopback(endpoint.host)
    try:
        tools = find_client_tools(server_major=context.facts.major, tls=remote)
    except RowbackError as error:
        yield SAYS.problem("client-programs", f"{error.fact}; {listed(error.facts)}", error.help)
        return
    yield SAYS.ok("client-programs", f"pg_dump {tools.version}")


def state_directory(context: DoctorContext) -> Iterator[Check]:
    """Journals must be writable before anything is restored."""
    home = state_home()
    try:
        make_private(home)
        with TemporaryFile(dir=home):
            pass
    except OSError as error:
        yield SAYS.problem("state-directory", f"{home} cannot be written to: {error.strerror}", "set ROWBACK_HOME")
        return
    broken = unreadable_cases()
    if broken:
        yield SAYS.warning("cases", f"unreadable: {listed(name for name, _ in broken)}", "rowback cases")
    ours = [c.id for c in all_cases() if c.closed_at is None and c.plan.source.resource_id == context.facts.resource_id]
    if ours:
        yield SAYS.warning("open-cases", f"not finished: {listed(ours)}", f"rowback status {ours[0]}")
    if not broken and not ours:
        yield SAYS.ok("state-directory", str(home))


def disk(database_bytes: int | None) -> Iterator[Check]:
    """Room for a dump of the whole database, which is the worst case; --transport copy needs none."""
    place = next(path for path in (state_home(), *state_home().parents, Path("/")) if path.is_dir())
    free, needed = shutil.disk_usage(place).free, max(LEAST_BYTES, database_bytes or 0)
    reason = f"{free / 2**20:,.0f} MiB free at {place}"
    if free < needed:
        yield SAYS.problem(
            "disk",
            f"{reason}; a dump of the whole database may take {needed / 2**20:,.0f} MiB",
            "set ROWBACK_HOME to a larger disk, or use --transport copy",
        )
    elif database_bytes is not None:  # else nobody can say, and the problem that hides it stands above
        yield SAYS.ok("disk", reason)


def last_drill(context: DoctorContext) -> Iterator[Check]:
    """When recovery of this instance was last rehearsed from here, and how that went."""
    name = context.facts.identifier
    drills, how = held_on(name), rehearse(name)
    if not drills:
        yield SAYS.warning("drill", f"no recovery of '{name}' was ever rehearsed from this machine", how)
        return
    age, last = context.now - drills[-1].at, drills[-1]
    if not last.passed:
        yield SAYS.warning("drill", f"the last drill of '{name}' ({last.at:%Y-%m-%d}) failed", how)
    elif age > DRILL_AGE:
        yield SAYS.warning("drill", f"the last drill of '{name}' was {age.days} days ago", how)
    else:
        yield SAYS.ok("drill", f"passed {age.days} days ago in {last.recovery_time_s or 0:.0f} s")
