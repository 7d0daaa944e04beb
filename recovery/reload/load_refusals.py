"""What a load refuses before it commits. Everything refused here has been rolled back."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from recovery.errors import ROLLED_BACK, ErrorId, RowbackError
from recovery.model.account import Reason
from recovery.model.catalog import ForeignKey, Trigger
from recovery.model.recovery_report import Fingerprint
from recovery.model.values import TableName, counted
from recovery.postgres import load_statements
from recovery.postgres.change_consumers import LockHolder
from recovery.postgres.connect import Session
from recovery.postgres.copy_rows import Pair
from recovery.postgres.fingerprint import fingerprint
from recovery.postgres.read_catalog import count_rows, nonempty, read_triggers
from recovery.postgres.staging.stage import Stage
from recovery.postgres.staging.stage_proofs import prove_rows


def side_effects(
    expected: Mapping[TableName, load_statements.Touched],
    before: Mapping[TableName, load_statements.Touched],
    after: Mapping[TableName, load_statements.Touched],
) -> list[str]:
    """Row changes of the transaction other than exactly the `expected` ones, by the server's own accounts."""
    effects = []
    for table, now in after.items():
        touched = load_statements.minus(now, before.get(table))
        if touched != expected.get(table, load_statements.Touched(table, 0, 0, 0)):
            expectation = f"expected {_counts_text(expected[table])}" if table in expected else "outside the scope"
            effects.append(f"{table}: {_counts_text(touched)}, {expectation}")
    return effects


def refuse_side_effects(
    expected: Mapping[TableName, load_statements.Touched],
    before: Mapping[TableName, load_statements.Touched],
    after: Mapping[TableName, load_statements.Touched],
) -> None:
    """The server's own accounts of the transaction must be exactly what was planned. Raises verify-differs."""
    if effects := side_effects(expected, before, after):
        raise RowbackError(
            ErrorId.VERIFY_DIFFERS,
            "the load changed more than the rows it put back",
            *effects,
            state=ROLLED_BACK,
            help="find the trigger or rule of these tables that did it, and disable it for the load",
        )


def refuse_rows(original: Session, tables: Sequence[TableName]) -> None:
    """Tables that are loaded whole must be empty, now that they are locked. Raises plan-facts-changed."""
    if holding := nonempty(original, tables):
        counts = count_rows(original, sorted(holding, key=lambda name: name.key))
        raise RowbackError(
            ErrorId.PLAN_FACTS_CHANGED,
            f"tables that were empty when they were compared hold rows now: {_listed(counts)}",
            state=ROLLED_BACK,
            help="others are writing: compare again: rowback diff CASE --again",
        )


def refuse_other_triggers(original: Session, tables: Sequence[TableName], planned: Iterable[Trigger]) -> None:
    """Compare the triggers of the locked tables with those of the plan: under the lock they cannot change any more.

    Raises plan-facts-changed.
    """
    enabled = {trigger for trigger in read_triggers(original, tables) if trigger.state != "D"}
    expected = {trigger for trigger in planned if trigger.table in set(tables)}
    if changed := sorted(f"{t.name} on {t.table}" for t in enabled ^ expected):
        raise RowbackError(
            ErrorId.PLAN_FACTS_CHANGED,
            f"triggers changed since the plan was made: {', '.join(changed)}",
            state=ROLLED_BACK,
            help="rowback close CASE, then a new plan",
        )


def refuse_changed_definitions(before: str, after: str) -> None:
    """Compare digests of the database's definitions and privileges. Raises plan-facts-changed where they differ."""
    if before != after:
        raise RowbackError(
            ErrorId.PLAN_FACTS_CHANGED,
            "definitions in the database changed while the rows were loaded",
            "another session created, altered or granted something at the same moment",
            state=ROLLED_BACK,
            help="try again when no migration is running",
        )


def refuse_differences(
    original: Session, fills: Sequence[Pair], expected: Mapping[str, Fingerprint], oldest_version_num: int
) -> None:
    """Tables loaded whole must equal T. Raises verify-differs."""
    differing = []
    for pair in fills:
        at_target = expected[str(pair.name)]
        loaded = fingerprint(original, pair.original, oldest_version_num=oldest_version_num)
        if loaded != at_target:
            differing.append(f"{pair.name}: {at_target.rows} rows at T, {loaded.rows} loaded, checksum differs")
    _refuse_any(differing, "the loaded rows are not the rows at T")


def refuse_other_rows(stages: Sequence[Stage], written: Mapping[TableName, tuple[int, int, int]], xid: int) -> None:
    """In tables repaired row by row: expected rows are affected rows, and what we wrote is exactly what was planned.

    `written`: rows inserted, updated and deleted, as the server counted them.

    Raises verify-differs.
    """
    differing = []
    for stage, proof in zip(stages, prove_rows(stages, xid), strict=True):
        name = stage.table.name
        if proof.counts != written[name]:
            counted = [_counts_text(load_statements.Touched(name, *counts)) for counts in (proof.counts, written[name])]
            differing.append(f"{name}: {counted[0]} were planned, {counted[1]} were written")
        elif proof.planned != proof.written:
            differing.append(f"{name}: {proof.planned[0]} rows planned, {proof.written[0]} written, checksum differs")
    _refuse_any(differing, "the written rows are not the planned ones")


def _refuse_any(differing: Sequence[str], fact: str) -> None:
    if differing:
        raise RowbackError(
            ErrorId.VERIFY_DIFFERS,
            fact,
            *differing,
            state=ROLLED_BACK,
            help="a rule, a trigger or a default changed them; report this as a bug with the plan",
        )


def rows_refused(table: TableName, words: str) -> RowbackError:
    """A table's rows that the server refuses, where they are not to be set aside one by one, or cannot be."""
    return RowbackError(
        ErrorId.LOAD_REFUSED,
        f"rows of {table} cannot be written",
        words,
        state=ROLLED_BACK,
        help="compare again, so that they are found beforehand: rowback diff CASE --again",
    )


def not_free(database: str, tried: str, holders: Sequence[LockHolder]) -> RowbackError:
    """Others hold locks on the tables, or on their rows, and do not let go."""
    holders = [holder for holder in holders if holder.writes] or holders
    ends = "; ".join(holder.ended_by for holder in holders)
    return RowbackError(
        ErrorId.LOCK_NOT_GRANTED,
        f"the tables of '{database}' were not free within {tried}",
        *(holder.who for holder in holders),
        state=ROLLED_BACK,
        help=f"wait for them, or end them: {ends}" if ends else "they are free now: try again",
    )


def so_many_locks(tables: int) -> RowbackError:
    """One transaction over thousands of tables can take more locks than a small server has room for."""
    return RowbackError(
        ErrorId.LOAD_REFUSED,
        f"repairing {tables:,} tables in one transaction takes more locks than the server has room for",
        state=ROLLED_BACK,
        help="repair them one after the other, each in a transaction of its own: rowback apply CASE DIGEST"
        " --max-wal-rate 64MiB; or raise max_locks_per_transaction in the parameter group, which takes a reboot",
    )


def refuse_dangling(counts: Iterable[tuple[ForeignKey, int]]) -> None:
    """Every reference of a row we wrote, and to a row we deleted, must hold. Raises load-refused."""
    if dangling := [(key, count) for key, count in counts if count]:
        raise RowbackError(
            ErrorId.LOAD_REFUSED,
            "rows at T reference rows that do not exist now",
            *(
                f"{key.child}: {counted(count, 'row')} without parent in {key.parent} ({key.name})"
                for key, count in dangling
            ),
            state=ROLLED_BACK,
            help="put the parents back as well: name them with --table",
        )


def refuse_part(aside: Mapping[str, Sequence[Reason]], stay: Mapping[str, Sequence[Reason]]) -> None:
    """Rows that others kept from being written keep all others away. Raises load-refused."""
    lines = [
        f"{table}  {counted(each.rows, 'row')} {what}: {each.reason}"
        for what, by_table in (("not back", aside), ("not deleted", stay))
        for table, reasons in by_table.items()
        for each in reasons
    ]
    if lines:
        raise RowbackError(
            ErrorId.LOAD_REFUSED,
            "rows cannot be written as they were compared, and --all-or-nothing was asked for",
            *lines,
            state=ROLLED_BACK,
            help="compare again: rowback diff CASE --again",
        )


def refuse_nothing(written: int, skipped: Collection[str]) -> None:
    """Zero effect is never success. Raises plan-facts-changed."""
    if not written:
        raise RowbackError(
            ErrorId.PLAN_FACTS_CHANGED,
            f"none of the {len(skipped):,} planned rows can be written any more",
            *sorted(set(skipped)),
            state=ROLLED_BACK,
            help="compare again: rowback diff CASE --again",
        )


def _counts_text(touched: load_statements.Touched) -> str:
    return f"{touched.inserted} inserted, {touched.updated} updated, {touched.deleted} deleted"


def _listed(counts: Mapping[TableName, int]) -> str:
    return ", ".join(f"{table} ({count:,})" for table, count in counts.items())
