"""A case's archives of all definitions: of the copy, and of the original at several moments."""

from __future__ import annotations

from dataclasses import replace

from recovery.postgres.archive.schema_archive import dump_definitions, entries_of
from recovery.postgres.archive.table_of_contents import ArchiveEntry
from recovery.postgres.client_programs import ClientTools, find_client_tools
from recovery.postgres.connect import Session, client_encoding
from recovery.postgres.connection_target import is_loopback
from recovery.workflow.recovery_run import RecoveryRun

OBJECTS_LEFT = "objects.left"
THEN, NOW = "definitions-then", "definitions-now"


def dump_target(recovery_run: RecoveryRun, copy: Session) -> list[ArchiveEntry]:
    """The definitions at T, dumped once and before the copy is altered: quarantine lifts FORCE from policies."""
    into = recovery_run.case.directory / THEN
    if not into.is_dir():
        dump(recovery_run, f"{THEN}.part", copy)
        (recovery_run.case.directory / f"{THEN}.part").rename(into)
    return entries_of(into)


def dump(recovery_run: RecoveryRun, name: str, session: Session) -> list[ArchiveEntry]:
    """Its definitions, into the directory `name` of the case."""
    into = recovery_run.case.directory / name
    # with the password that libpq itself found: a child program is given nothing else of this one's environment
    target = replace(session.target, user=session.info.user, password=session.info.password, service=None)
    return dump_definitions(client_tools(session), target, into, encoding=client_encoding(session))


def client_tools(session: Session) -> ClientTools:
    """pg_dump and pg_restore for its server."""
    major, host = session.info.server_version // 10_000, session.target.endpoint.host
    return find_client_tools(server_major=major, tls=not is_loopback(host))


def definitions_at_target(recovery_run: RecoveryRun) -> list[ArchiveEntry]:
    """The entries that were dumped before."""
    return entries_of(recovery_run.case.directory / THEN)


def objects_left(recovery_run: RecoveryRun) -> dict[int, str]:
    """Numbers of entries that cannot be made by this role, with why."""
    noted = recovery_run.case.noted(OBJECTS_LEFT)
    return {int(number): str(why) for number, why in noted[-1].items()} if noted else {}


def chosen_entries(recovery_run: RecoveryRun) -> list[ArchiveEntry]:
    """The entries that are made anew, in the archive's order."""
    outcome = recovery_run.case.outcome_of("read-target")
    assert outcome
    numbers = {each["number"] for each in outcome["objects"]} - objects_left(recovery_run).keys()
    return [entry for entry in definitions_at_target(recovery_run) if entry.number in numbers]
