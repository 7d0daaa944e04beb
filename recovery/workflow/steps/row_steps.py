"""Steps around the rows: read what T holds, take it out, put it back, prove it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from recovery.changeset.column_mapping import map_table
from recovery.errors import ErrorId, RowbackError
from recovery.model.catalog import Catalog
from recovery.model.recovery_plan import RecoveryPlan, Transport, Why
from recovery.model.target import format_utc
from recovery.model.values import TableName, counted
from recovery.postgres.beside_tables import beside_name, plain
from recovery.postgres.client_programs import ClientTools, find_client_tools
from recovery.postgres.connect import Session, client_encoding
from recovery.postgres.connection_target import is_loopback
from recovery.postgres.copy_rows import CopyTransport, Pair, RowTransport
from recovery.postgres.dump import DumpTransport, dump_tables, end_orphan
from recovery.postgres.fingerprint import fingerprint
from recovery.postgres.read_catalog import count_rows, nonempty, read_catalog
from recovery.reload.load_job import AtTarget
from recovery.reload.wal_pace import WalPace
from recovery.store.case_directory import Case
from recovery.workflow.recovery_run import UNTOUCHED, Outcome, RecoveryRun
from recovery.workflow.steps.recreate_objects import read_missing, tell_missing
from recovery.workflow.steps.step import Step

REFUSED_WHOLE = "whole.refused"
FREE_BYTES_KEPT = 256 * 1024 * 1024


class ReadTarget(Step):
    """Catalog, counts and checksums at T of the tables that are empty now and look as they did."""

    name, title = "read-target", "read what the tables held at T"
    undo = "reads only"

    def do(self, recovery_run: RecoveryRun) -> Outcome:
        """Compare the two catalogs and fingerprint those tables on the copy. Raises nothing-at-target for no rows."""
        plan = recovery_run.case.plan
        if plan.request.reload_mode.anew:
            return read_missing(recovery_run)
        beside = plan.request.reload_mode.beside
        with recovery_run.original() as original, recovery_run.copy() as copy:
            then, now = read_catalog(copy), read_catalog(original)
            filled = nonempty(original, [name for name in plan.whole if now.table(name)])
            pairs = [pair for pair in alike(plan, then, now) if pair.name not in filled]
            if beside:
                pairs = beside_pairs(recovery_run.case, then)
            dropped_tables = {} if beside else _dropped_tables(copy, then, now, plan)
            oldest = min(original.info.server_version, copy.info.server_version)
            prints = {str(p.name): fingerprint(copy, p.at_target, oldest_version_num=oldest) for p in pairs}
        compared = len(pairs) < len(plan.tables)
        if (not compared or beside) and not dropped_tables and not any(each.rows for each in prints.values()):
            raise _nothing_at_target(recovery_run, [str(pair.at_target.name) for pair in pairs])
        counters = {counter.name: counter for counter in then.sequences}
        truth = AtTarget(fingerprints=prints, sequences=tuple(counters.values()), oldest_version_num=oldest)
        size = sum(pair.at_target.bytes for pair in pairs)
        return {**truth.model_dump(mode="json"), "bytes": size, "gone": dropped_tables}

    def tell(self, outcome: Outcome) -> str:
        """How much was there."""
        if "objects" in outcome:
            return tell_missing(outcome)
        prints = outcome["fingerprints"].values()
        rows, tables = sum(each["rows"] for each in prints), len(prints)
        return f"{counted(rows, 'row')} in {counted(tables, 'table')} empty now"


class Extract(Step):
    """pg_dump the scope into the case directory; nothing to do when rows are streamed."""

    name, title = "extract", "take the rows out with pg_dump"
    undo = "the dump is removed with the case"

    def check(self, recovery_run: RecoveryRun) -> None:
        """Clear away what an attempt before left behind, and see that the disk can hold the dump. Raises disk-full."""
        directory = recovery_run.case.directory
        end_orphans(recovery_run.case)
        for old in directory.glob("dump-*"):
            shutil.rmtree(old, ignore_errors=True)
        if not self._dumps(recovery_run):
            return
        needed, free = _read_target(recovery_run)["bytes"], shutil.disk_usage(directory).free
        if needed + FREE_BYTES_KEPT > free:
            raise RowbackError(
                ErrorId.DISK_FULL,
                f"the dump may take {needed / 2**20:,.0f} MiB, {FREE_BYTES_KEPT / 2**20:,.0f} MiB are kept free beside"
                f" it, and {directory} has {free / 2**20:,.0f} MiB",
                state=UNTOUCHED,
                help="free space there; the next try continues from here",
            )

    def do(self, recovery_run: RecoveryRun) -> Outcome:
        """A directory per attempt: a dump that was cut short is never mistaken for a whole one."""
        if not self._dumps(recovery_run):
            return {"transport": Transport.COPY.value, "bytes": 0}
        whole = filled_tables(recovery_run)
        attempt = recovery_run.case.steps[self.name].attempts
        directory = recovery_run.case.directory / f"dump-{attempt}"
        shutil.rmtree(directory, ignore_errors=True)
        tools = _tools(recovery_run)

        def started(pid: int) -> None:
            recovery_run.record("dump.started", data={"pid": pid, "directory": str(directory)})

        with recovery_run.original() as original:
            encoding = client_encoding(original)
        size = dump_tables(tools, recovery_run.copy_target(), whole, directory, encoding=encoding, started=started)
        return {
            "transport": Transport.DUMP.value,
            "directory": str(directory),
            "bytes": size,
            "pg_dump": tools.version,
        }

    @staticmethod
    def _dumps(recovery_run: RecoveryRun) -> bool:
        """Whether anything is dumped: whole tables alone, and not where they are streamed.

        Tables that are swapped are, because nothing is locked while their rows come.
        """
        plan = recovery_run.case.plan
        streamed = plan.transport is Transport.COPY or not plan.request.reload_mode.in_place
        streamed = streamed or _swapped(recovery_run)
        return not streamed and bool(filled_tables(recovery_run))

    def tell(self, outcome: Outcome) -> str:
        """How big."""
        if outcome["transport"] == Transport.COPY.value:
            return "nothing to extract: rows are streamed"
        return f"{outcome['bytes'] / 2**20:,.1f} MiB by pg_dump {outcome['pg_dump']}"


def end_orphans(case: Case) -> None:
    """End every pg_dump of this case that a crash left running."""
    for note in case.noted("dump.started"):
        end_orphan(note["pid"], Path(note["directory"]))


def _nothing_at_target(recovery_run: RecoveryRun, tables: Sequence[str]) -> RowbackError:
    plan = recovery_run.case.plan
    missing = [str(name) for name in plan.dropped if str(name) not in tables]
    if missing:
        return RowbackError(
            ErrorId.TABLE_UNKNOWN,
            f"at {format_utc(plan.target_time)} there was no table {', '.join(missing)}",
            "there is none now either",
            state=UNTOUCHED,
            help=f"rowback close {recovery_run.case.id}, then plan again with the name it had at T",
        )
    return RowbackError(
        ErrorId.NOTHING_AT_TARGET,
        f"at {format_utc(plan.target_time)} all {len(tables)} tables in scope were empty already",
        "the incident was earlier than this target time",
        state=UNTOUCHED,
        help=f"rowback close {recovery_run.case.id}, then plan again with an earlier --at",
    )


def _dropped_tables(copy: Session, then: Catalog, now: Catalog, plan: RecoveryPlan) -> dict[str, int]:
    """Tables with rows at T that do not exist any more, and how many: they are not put back, and the account says so.

    For a whole database that is any table; for named ones, partitions of the same parent.
    """
    known_names = {table.name for table in now.tables} | {out.name for out in plan.left_out}
    oids = {table.oid for table in now.tables}  # renamed since, it is another name for the same rows
    whole = any(table.why is Why.WHOLE_DATABASE for table in plan.tables)
    parents = {parent for table in then.tables if table.name in plan.scope for parent in table.inherits}
    missing = [
        t
        for t in then.tables
        if t.name not in known_names and t.oid not in oids and (whole or parents & set(t.inherits))
    ]
    counts = count_rows(copy, [table.name for table in missing if table.readable and not table.row_security])
    return {str(name): rows for name, rows in counts.items() if rows}


def alike(plan: RecoveryPlan, at_target: Catalog, original: Catalog) -> list[Pair]:
    """The tables that were empty when planned and whose rows at T fit column by column, in load order.

    One that was made anew since is another table, unless it was named.
    """
    named = {table.name for table in plan.tables if table.why is Why.NAMED}
    both = ((at_target.table(name), original.table(name)) for name in plan.whole)
    # pg_dump passes the rows of an extension's own tables over
    return [
        Pair(then, now)
        for then, now in both
        if then
        and now
        and now.extension is None
        and (then.oid == now.oid or now.name in named)
        and map_table(then, now).alike
    ]


def beside_pairs(case: Case, at_target: Catalog) -> list[Pair]:
    """Every table of the scope that existed at T, and the table of our own schema it is loaded into."""
    names = [*case.plan.scope, *case.plan.dropped]
    tables = [plain(table) for name in names if (table := at_target.table(name))]
    return [Pair(t, t.model_copy(update={"name": beside_name(case.id, t.name)})) for t in tables]


def empty_tables(recovery_run: RecoveryRun) -> list[TableName]:
    """The tables that are empty now and look as they did, in load order; without those that the server refused whole.

    Their rows are to be looked at one by one.
    """
    prints = _read_target(recovery_run)["fingerprints"]
    if not recovery_run.case.plan.request.reload_mode.in_place:
        named = (
            beside_name(recovery_run.case.id, name)
            for name in (*recovery_run.case.plan.scope, *recovery_run.case.plan.dropped)
        )
        return [name for name in named if str(name) in prints]
    refused = {note["table"] for note in recovery_run.case.noted(REFUSED_WHOLE)}
    return [name for name in recovery_run.case.plan.scope if str(name) in prints and str(name) not in refused]


def filled_tables(recovery_run: RecoveryRun) -> list[TableName]:
    """The tables that are loaded whole, in load order, as the comparison decided."""
    repair = recovery_run.case.repair_plan
    assert repair
    return list(repair.filled)


def truth(recovery_run: RecoveryRun) -> AtTarget:
    """What the copy held, as read."""
    return AtTarget.model_validate({name: _read_target(recovery_run)[name] for name in AtTarget.model_fields})


def transport(recovery_run: RecoveryRun, pace: WalPace | None) -> AbstractContextManager[RowTransport | None]:
    """How rows of whole tables travel; None when there are none. Those that are streamed keep `pace`."""
    return _transport(recovery_run, pace) if filled_tables(recovery_run) else nullcontext(None)


@contextmanager
def _transport(recovery_run: RecoveryRun, pace: WalPace | None) -> Iterator[RowTransport | None]:
    extracted = recovery_run.case.outcome_of(Extract.name)
    assert extracted
    if extracted["transport"] == Transport.COPY.value:
        with recovery_run.copy() as copy:
            yield CopyTransport(copy, pace.streamed) if pace and _swapped(recovery_run) else CopyTransport(copy)
    else:
        yield DumpTransport(_tools(recovery_run), Path(extracted["directory"]))


def _swapped(recovery_run: RecoveryRun) -> bool:
    plan = recovery_run.case.repair_plan
    return plan is not None and bool(plan.swapped)


def _tools(recovery_run: RecoveryRun) -> ClientTools:
    facts = recovery_run.copy_facts()
    assert facts.endpoint
    return find_client_tools(server_major=facts.major, tls=not is_loopback(facts.endpoint.host))


def _read_target(recovery_run: RecoveryRun) -> Outcome:
    outcome = recovery_run.case.outcome_of(ReadTarget.name)
    assert outcome is not None
    return outcome
