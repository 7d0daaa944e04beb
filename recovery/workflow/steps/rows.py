"""Steps around the rows: read what T holds, take it out, put it back, prove it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recovery.compare.drift import drift
from recovery.errors import ErrorId, RowbackError
from recovery.model.catalog import Catalog
from recovery.model.plan import RecoveryPlan, Transport, Why
from recovery.model.report import Verification
from recovery.model.target import format_utc
from recovery.postgres import writing
from recovery.postgres.binaries import ClientTools, find_client_tools
from recovery.postgres.catalog import nonempty, read_catalog
from recovery.postgres.connect import Session, is_loopback
from recovery.postgres.dump import DumpTransport, dump_tables, end_orphan
from recovery.postgres.fingerprint import fingerprint
from recovery.postgres.rows import CopyTransport, Pair, RowTransport
from recovery.reload.load import AtTarget, Job, Loaded, load
from recovery.reload.verify import verify
from recovery.workflow.cases import Case
from recovery.workflow.errand import UNTOUCHED, Errand, Outcome
from recovery.workflow.steps.base import Step

DUMP_JOBS = 2
FREE_BYTES_KEPT = 256 * 1024 * 1024
DEAD_SESSION_DEADLINE_S = 60.0


class ReadTarget(Step):
    """Catalog, counts and checksums of the scope at T; refuses drift and an empty T before anything is written."""

    name, title = "read-target", "read what the tables held at T"
    undo = "reads only"

    def do(self, errand: Errand) -> Outcome:
        """Compare the two catalogs and fingerprint every table on the temporary instance."""
        plan = errand.case.plan
        with errand.live() as live, errand.copy() as copy:
            then, now = read_catalog(copy), read_catalog(live)
            pairs = _pairs(errand.case, then, now)
            gone = _gone(copy, then, now, plan)
            oldest = min(live.info.server_version, copy.info.server_version)
            prints = {str(p.name): fingerprint(copy, p.at_target, oldest_version_num=oldest) for p in pairs}
        if not any(found.rows for found in prints.values()):
            raise RowbackError(
                ErrorId.NOTHING_AT_TARGET,
                f"at {format_utc(plan.target_time)} all {len(prints)} tables in scope were empty already",
                "the incident was earlier than this target time",
                state=UNTOUCHED,
                help=f"rowback close {errand.case.id}, then plan again with an earlier --at",
            )
        counters = {counter.name: counter for counter in then.sequences if counter.table in plan.scope}
        truth = AtTarget(fingerprints=prints, sequences=tuple(counters.values()), oldest_version_num=oldest)
        size = sum(pair.at_target.bytes for pair in pairs)
        return {**truth.model_dump(mode="json"), "bytes": size, "gone": gone}

    def tell(self, outcome: Outcome) -> str:
        """How much was there."""
        prints = outcome["fingerprints"].values()
        return f"{sum(found['rows'] for found in prints):,} rows in {len(prints)} tables"


class Extract(Step):
    """pg_dump the scope into the case directory; nothing to do when rows are streamed."""

    name, title = "extract", "take the rows out with pg_dump"
    undo = "the dump is removed with the case"

    def check(self, errand: Errand) -> None:
        """Clear away what an attempt before left behind, and see that the disk can hold the dump."""
        directory = errand.case.directory
        end_orphans(errand.case)
        for old in directory.glob("dump-*"):
            shutil.rmtree(old, ignore_errors=True)
        needed = _read_target(errand)["bytes"] if errand.case.plan.transport is Transport.DUMP else 0
        free = shutil.disk_usage(directory).free
        if needed + FREE_BYTES_KEPT > free:
            raise RowbackError(
                ErrorId.DISK_FULL,
                f"the dump may take {needed / 2**20:,.0f} MiB and {directory} has {free / 2**20:,.0f} MiB free",
                state=UNTOUCHED,
                help="free space there; the next try continues from here",
            )

    def do(self, errand: Errand) -> Outcome:
        """A directory per attempt: a dump that was cut short is never mistaken for a whole one."""
        plan = errand.case.plan
        if plan.transport is Transport.COPY:
            return {"transport": Transport.COPY.value, "bytes": 0}
        attempt = errand.case.steps[self.name].attempts
        directory = errand.case.directory / f"dump-{attempt}"
        shutil.rmtree(directory, ignore_errors=True)
        tools = _tools(errand)

        def started(pid: int) -> None:
            errand.record("dump.started", data={"pid": pid, "directory": str(directory)})

        size = dump_tables(tools, errand.copy_target(), plan.scope, directory, jobs=DUMP_JOBS, started=started)
        return {
            "transport": Transport.DUMP.value,
            "directory": str(directory),
            "bytes": size,
            "pg_dump": tools.version,
        }

    def tell(self, outcome: Outcome) -> str:
        """How big."""
        if outcome["transport"] == Transport.COPY.value:
            return "nothing to extract: rows are streamed"
        return f"{outcome['bytes'] / 2**20:,.1f} MiB by pg_dump {outcome['pg_dump']}"


class Load(Step):
    """The one dangerous act: a single transaction on the original."""

    name, title = "load", "put the rows back"
    undo = "the tables were empty: TRUNCATE them again (rowback undo comes with row-level repair)"

    def reconcile(self, errand: Errand) -> Outcome | None:
        """The transaction's id was recorded before its commit: the server knows whether it committed."""
        intents = errand.case.noted("load.intent")
        with errand.live() as live:
            for intent in reversed(intents):
                if _settled_status(live, intent["xid"], errand) == "committed":
                    return dict(intent)
        return None

    def do(self, errand: Errand) -> Outcome:
        """Load, and record the proof before the commit."""
        plan = errand.case.plan
        truth = _truth(errand)
        with errand.live() as live, _transport(errand) as (copy_catalog, transport):
            catalog = read_catalog(live)
            pairs = _pairs(errand.case, copy_catalog, catalog)

            def before_commit(done: Loaded) -> None:
                errand.record("load.intent", data=done.model_dump(mode="json"))

            done = load(live, Job(plan, catalog, pairs, truth), transport, before_commit=before_commit)
        return done.model_dump(mode="json")

    def tell(self, outcome: Outcome) -> str:
        """How many rows and for how long writers waited."""
        return f"{sum(outcome['rows'].values()):,} rows, tables locked for {outcome['seconds_locked']:.2f} s"


class Verify(Step):
    """Prove the result on the original, after the commit."""

    name, title = "verify", "prove the result"
    undo = "reads only"

    def do(self, errand: Errand) -> Outcome:
        """Compare; a difference is an error, and the temporary instance stays for a look."""
        plan = errand.case.plan
        loaded = Loaded.model_validate(errand.case.outcome_of(Load.name))
        with errand.live() as live:
            catalog = read_catalog(live)
            live_tables = {table.name: table for table in catalog.tables}
            pairs = [Pair(live_tables[name], live_tables[name]) for name in plan.scope]
            job = Job(plan, catalog, pairs, _truth(errand))
            found = verify(live, job, loaded)
        errand.record("verification", data=found.model_dump(mode="json"))
        if not found.proven:
            raise _differs(errand, found)
        return found.model_dump(mode="json")

    def tell(self, outcome: Outcome) -> str:
        """The verdict."""
        found = Verification.model_validate(outcome)
        return f"{found.rows:,} rows equal T, {found.foreign_keys_checked} foreign keys hold"


def end_orphans(case: Case) -> None:
    """End every pg_dump of this case that a crash left running."""
    for note in case.noted("dump.started"):
        end_orphan(note["pid"], Path(note["directory"]))


def _gone(copy: Session, then: Catalog, now: Catalog, plan: RecoveryPlan) -> list[str]:
    """Tables with rows at T that do not exist any more: they are not put back, and the report must say so.

    For a whole database that is any table; for named ones, partitions of the same parent.
    """
    known = {table.name for table in now.tables} | {out.name for out in plan.left_out}
    whole = any(table.why is Why.WHOLE_DATABASE for table in plan.tables)
    parents = {parent for table in then.tables if table.name in plan.scope for parent in table.inherits}
    missing = [t for t in then.tables if t.name not in known and (whole or parents & set(t.inherits))]
    filled = nonempty(copy, [table.name for table in missing if table.readable and not table.row_security])
    return sorted(str(table.name) for table in missing if table.name in filled)


def _pairs(case: Case, at_target: Catalog, live: Catalog) -> list[Pair]:
    """The tables of the scope on both sides, in load order. Raises schema-drift."""
    scope = case.plan.scope
    then, now = ({table.name: table for table in catalog.tables} for catalog in (at_target, live))
    found = {name: drift(then.get(name), now[name]) for name in now if name in scope}
    if drifted := [f"{name}: {what}" for name, changes in found.items() for what in changes]:
        raise RowbackError(
            ErrorId.SCHEMA_DRIFT, "the schema changed since T, so the rows at T do not fit", *drifted,
            state=UNTOUCHED,
            help=f"bring the columns back and: rowback resume {case.id}; or rowback close {case.id}, then a new plan"
            " with --except for those tables",
        )  # fmt: skip
    return [Pair(then[name], now[name]) for name in scope]


@contextmanager
def _transport(errand: Errand) -> Iterator[tuple[Catalog, RowTransport]]:
    with errand.copy() as copy:
        catalog = read_catalog(copy)
        if errand.case.plan.transport is Transport.COPY:
            yield catalog, CopyTransport(copy)
            return
    extracted = errand.case.outcome_of(Extract.name)
    assert extracted
    yield catalog, DumpTransport(_tools(errand), Path(extracted["directory"]))


def _tools(errand: Errand) -> ClientTools:
    facts = errand.copy_facts()
    assert facts.endpoint
    return find_client_tools(server_major=facts.major, tls=not is_loopback(facts.endpoint.host))


def _read_target(errand: Errand) -> Outcome:
    outcome = errand.case.outcome_of(ReadTarget.name)
    assert outcome is not None
    return outcome


def _truth(errand: Errand) -> AtTarget:
    fields = {name: _read_target(errand)[name] for name in AtTarget.model_fields}
    return AtTarget.model_validate(fields)


def _settled_status(live: Session, xid: int, errand: Errand) -> str:
    """The transaction's end; a session whose client died is ended first."""
    deadline = time.monotonic() + DEAD_SESSION_DEADLINE_S
    while (status := writing.transaction_status(live, xid)) == "in progress":
        writing.end_transaction_of_the_dead(live, xid)
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    if status not in ("committed", "aborted"):
        raise RowbackError(
            ErrorId.STOPPED_MIDWAY, f"the server cannot say whether transaction {xid} committed: it is {status}",
            state="whether the rows were put back is not known",
            help=f"count the rows yourself, then: rowback close {errand.case.id}",
        )  # fmt: skip
    return status


def _differs(errand: Errand, found: Verification) -> RowbackError:
    lines = [f"{p.table}: {p.at_target.rows:,} rows at T, {p.now.rows:,} now" for p in found.tables if not p.equal]
    if found.dangling_references:
        lines.append(f"{found.dangling_references:,} rows reference a row that does not exist")
    lines += [f"{table} was changed by the load" for table in found.changed_outside_scope]
    return RowbackError(
        ErrorId.VERIFY_DIFFERS, f"'{errand.case.plan.database}' is not what it was proven to be before the commit",
        *lines,
        state="the rows were put back and committed",
        help=f"look, then check again: rowback resume {errand.case.id}; or end it: rowback close {errand.case.id}",
    )  # fmt: skip
