"""What mode recreate refuses once it has seen what is missing, each with its way on."""

from __future__ import annotations

from collections.abc import Sequence

from guards.plain_text import shell_word
from recovery.compare.lost_parts import PartComparison
from recovery.compare.missing_objects import MissingObjects
from recovery.errors import ErrorId, RowbackError
from recovery.model.dropped_schema import DroppedSchema
from recovery.model.target import format_utc
from recovery.model.values import TableName, counted
from recovery.postgres.archive.table_of_contents import ArchiveEntry
from recovery.postgres.connect import Session
from recovery.postgres.owners import missing_roles
from recovery.store.case_directory import Case
from recovery.workflow.recovery_run import UNTOUCHED, RecoveryRun

SHOWN = 20


def refuse(case: Case, missing: MissingObjects, parts: PartComparison, schemas: Sequence[DroppedSchema]) -> None:
    """Raises table-unknown, schema-drift, table-unrecoverable or nothing-to-repair."""
    if missing.unknown:
        raise RowbackError(
            ErrorId.TABLE_UNKNOWN,
            f"at {format_utc(case.plan.target_time)} there was no table {', '.join(map(str, missing.unknown))}",
            state=UNTOUCHED,
            help=f"rowback close {case.id}, then plan again with the name it had at T",
        )
    if missing.taken or parts.taken:
        raise _taken(case, missing.taken, parts)
    nothing = not missing.entries and not parts.lost and not schemas
    if nothing and parts.unknown:
        raise RowbackError(
            ErrorId.SCHEMA_DRIFT,
            "columns were dropped, and nothing tells which row their values belong to",
            *(text for _, text in parts.unknown[:SHOWN]),
            state=UNTOUCHED,
            help=f"see them beside: rowback close {case.id}, then {_beside(case, [name for name, _ in parts.unknown])}",
        )
    if (missing.moved or missing.unfit) and nothing:
        raise RowbackError(
            ErrorId.SCHEMA_DRIFT,
            "what was asked for, or is needed by it, was not dropped: it has another name now",
            *(f"{old} is {new} now" for old, new in missing.moved[:SHOWN]),
            *(f"{entry} needs {need}, which had another name" for entry, need in missing.unfit[:SHOWN]),
            state=UNTOUCHED,
            help=f"rowback close {case.id}; for rows of it that were lost, a new plan with the name of today",
        )
    if unreadable := [entry for entry in missing.entries if _is_no_text(entry)]:
        raise RowbackError(
            ErrorId.TABLE_UNRECOVERABLE,
            f"{counted(len(unreadable), 'object')} of T have names or definitions that are no text in UTF-8",
            *(ascii(str(entry)) for entry in unreadable[:SHOWN]),
            state=UNTOUCHED,
            help=f"rowback close {case.id}, then name the others with --table",
        )
    if nothing:
        raise RowbackError(
            ErrorId.NOTHING_TO_REPAIR,
            f"nothing that was there at {format_utc(case.plan.target_time)} is missing in '{case.plan.database}'",
            *parts.differing[:SHOWN],
            state=UNTOUCHED,
            help=f"for rows: rowback close {case.id}, then {case.restore_command('--mode missing')}; or earlier: --at",
        )


def _taken(case: Case, taken: Sequence[ArchiveEntry], parts: PartComparison) -> RowbackError:
    tables = [entry.name for entry in taken if entry.kind == "TABLE"] + [name for name, _ in parts.taken]
    look = f"; to see what tables held: rowback close {case.id}, then {_beside(case, tables)}" if tables else ""
    return RowbackError(
        ErrorId.SCHEMA_DRIFT,
        "other things have the names of what was dropped, or of what hung on it or it needs",
        *(str(entry) for entry in taken[:SHOWN]),
        *(text for _, text in parts.taken[:SHOWN]),
        state=UNTOUCHED,
        help=f"rename or drop them, then: rowback resume {case.id}{look}",
    )


def _beside(case: Case, tables: Sequence[TableName]) -> str:
    return case.restore_command(
        "--mode beside", " ".join(f"--table {shell_word(str(name))}" for name in dict.fromkeys(tables))
    )


def refuse_missing_owners(
    recovery_run: RecoveryRun, original: Session, missing: MissingObjects, schemas: Sequence[DroppedSchema]
) -> None:
    """Raises privilege-missing: what belonged or was granted to a role cannot be made without it."""
    owners = {entry.owner for entry in missing.entries if entry.owner} | {schema.owner for schema in schemas}
    owners |= {grant.grantee for schema in schemas for grant in schema.grants or () if grant.grantee}
    if gone := missing_roles(original, owners):
        raise RowbackError(
            ErrorId.PRIVILEGE_MISSING,
            f"roles that own what was dropped do not exist any more: {', '.join(gone)}",
            state=UNTOUCHED,
            help="make them again: "
            + "; ".join(f'create role "{name}"' for name in gone)
            + f"; then rowback resume {recovery_run.case.id}",
        )


def refuse_present(case: Case, present: Sequence[str]) -> None:
    """Raises plan-facts-changed where something of what was missing is there now, or parts changed."""
    if present:
        raise RowbackError(
            ErrorId.PLAN_FACTS_CHANGED,
            "objects that were missing are there now",
            *present[:SHOWN],
            state=UNTOUCHED,
            help=f"find out who made them; then rowback close {case.id}, and a new plan",
        )


def _is_no_text(entry: ArchiveEntry) -> bool:
    """Whether bytes of it could not be read, as in a database without an encoding."""
    return any("\ud800" <= character <= "\udfff" for character in str(entry) + entry.definition)
