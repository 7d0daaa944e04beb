"""After the commit: what the original holds now against what was planned and what the copy held at T."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice

from recovery.changeset.change_set import BATCH
from recovery.changeset.row_change import Shape, texts_of
from recovery.changeset.row_lines import WrittenLine
from recovery.model.catalog import ForeignKey, Table
from recovery.model.recovery_report import RepairProof, TableProof, Verification
from recovery.model.row_class import Op
from recovery.postgres import foreign_key_checks
from recovery.postgres.comparison.key_lookup import KeyedLine, lines_by_key
from recovery.postgres.comparison.table_scan import Field, Side, lines_written
from recovery.postgres.connect import Session
from recovery.postgres.copy_line import values_of
from recovery.postgres.copy_rows import Pair
from recovery.postgres.definition_digest import definitions_digest
from recovery.postgres.fingerprint import fingerprint, written_by_others
from recovery.postgres.read_catalog import invalid_indexes
from recovery.postgres.row_versions import xmin_of
from recovery.reload.load_job import Job, Loaded
from recovery.reload.load_proofs import keys_to_check

KEYS_SHOWN = 20


def verify(original: Session, job: Job, loaded: Loaded) -> Verification:
    """Compare every table that was written and every foreign key that touches it.

    The load committed only after all of it was proven under lock, and the server's statistics of its transaction were
    recorded before that. So later changes by others are counted separately and are no damage: rows they added
    (`written_since`), loaded rows they changed or deleted (`changed_since`), definitions they altered.
    """
    repaired = tuple(_prove_repairs(original, job, loaded))
    scope = [*job.filled, *(proof.table for proof in repaired)]
    keys = keys_to_check(scope, job.catalog)
    return Verification(
        tables=tuple(_prove(original, pair, job, loaded.writers_of(pair.name)) for pair in job.fills),
        repaired=repaired,
        foreign_keys_checked=len(keys),
        dangling_references=sum(_dangling(original, key, job, loaded) for key in keys),
        changed_outside_scope=tuple(sorted(loaded.touched.keys() - set(map(str, scope)))),
        definitions_altered_since=definitions_digest(original) != loaded.definitions,
        invalid_indexes=tuple(invalid_indexes(original, scope)),
    )


def _dangling(original: Session, key: ForeignKey, job: Job, loaded: Loaded) -> int:
    """Broken references that are ours.

    Under a key that is NOT VALID rows may have dangled at T already; the load has checked the references that it made.
    """
    whole = {key.child, *key.parent_tables} & set(job.filled)
    if not whole and not key.validated:
        return 0
    return foreign_key_checks.dangling_references(original, key, only=() if whole else loaded.xids)


def original_side(original: Session, table: Table, shape: Shape) -> Side:
    """The live table as the change set sees it."""
    by_name = {column.name: column for column in table.columns}
    fields = {name: Field(name, by_name[name]) for name in shape.columns}
    return Side(original, shape.table, tuple(fields[name] for name in shape.key), tuple(fields.values()))


def _prove(original: Session, pair: Pair, job: Job, xids: Sequence[int]) -> TableProof:
    expected = job.truth.fingerprints[str(pair.name)]
    version = job.truth.oldest_version_num
    now = fingerprint(original, pair.original, oldest_version_num=version)
    since = 0
    if now != expected and (since := written_by_others(original, pair.name, xids)):
        now = fingerprint(original, pair.original, oldest_version_num=version, only=xids)
    changed = max(0, expected.rows - now.rows)
    return TableProof(table=pair.name, at_target=expected, now=now, written_since=since, changed_since=changed)


def _prove_repairs(original: Session, job: Job, loaded: Loaded) -> Iterator[RepairProof]:
    if job.repair is None:
        return
    tables = {table.name: table for table in job.catalog.tables}
    for shape in job.repair.changes.shapes():
        counts = loaded.written.get(str(shape.table))
        if counts is None:
            continue
        side = original_side(original, tables[shape.table], shape)
        lines = job.repair.changes.lines
        rows = ((xmin_of(xid), row) for xid in loaded.xids for row in lines.written(shape.no, xid))
        if shape.key:
            equal, since, differing = _compare_by_key(side, shape, rows)
        else:
            equal, since, differing = _compare_whole_rows(side, shape, [row for _, row in rows], loaded.xids)
        yield RepairProof(
            table=shape.table,
            inserted=counts.inserted,
            updated=counts.updated,
            deleted=counts.deleted,
            equal=equal,
            changed_since=since,
            differing=tuple(differing[:KEYS_SHOWN]),
        )


def _compare_by_key(side: Side, shape: Shape, rows: Iterator[tuple[int, WrittenLine]]) -> tuple[int, int, list[str]]:
    equal, since, differing = 0, 0, []
    while batch := list(islice(rows, BATCH)):
        now = {line.place: line for line in lines_by_key(side, [row.key for _, row in batch])}
        for place, (ours, row) in enumerate(batch):
            match _state(row, now.get(place), ours):
                case "equal":
                    equal += 1
                case "changed since":
                    since += 1
                case _:
                    differing.append(f"{shape.table} {dict(zip(shape.key, texts_of(row.key) or (), strict=True))}")
    return equal, since, differing


def _state(row: WrittenLine, now: KeyedLine | None, xmin: int) -> str:
    if row.op is Op.DELETE:
        return "equal" if now is None else "changed since"
    if now is None or now.xmin != xmin:
        return "changed since"
    return "equal" if now.line == row.want else "differs"


def _compare_whole_rows(
    side: Side, shape: Shape, planned: Sequence[WrittenLine], xids: Sequence[int]
) -> tuple[int, int, list[str]]:
    """Without a key: rows our transactions wrote, counted by their values."""
    expected = Counter(row.want for row in planned if row.want is not None)
    deleted = sum(row.op is Op.DELETE for row in planned)
    equal, differing = deleted, []
    for line in lines_written(side, xids):
        if expected[line]:
            expected[line] -= 1
            equal += 1
        else:
            differing.append(f"{shape.table} {values_of(line)}")
    return equal, len(planned) - equal, differing
