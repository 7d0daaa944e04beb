"""Mode recreate, step by step: what is missing, the plan that follows, and how it is made and proven."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from recovery.compare.lost_parts import AS_IT_IS, PartComparison, PartQuestion, TwoCatalogs, compare_parts
from recovery.compare.missing_objects import MissingObjects, missing_objects
from recovery.errors import ErrorId, RowbackError
from recovery.model.catalog import Catalog, Table
from recovery.model.catalog_object import CatalogObject
from recovery.model.dropped_schema import DroppedSchema
from recovery.model.repair_plan import RepairPlan
from recovery.model.table_parts import LostParts, names_of
from recovery.model.values import TableName, counted
from recovery.postgres.archive.schema_archive import statements
from recovery.postgres.archive.table_of_contents import ArchiveEntry
from recovery.postgres.change_consumers import event_triggers, who_notices
from recovery.postgres.connect import Session
from recovery.postgres.fingerprint import fingerprint
from recovery.postgres.made_anew import unmakeable
from recovery.postgres.read_catalog import read_catalog
from recovery.postgres.schemas import read_schemas
from recovery.postgres.value_stage import rows_with_values
from recovery.reload.load_job import AtTarget, Loaded
from recovery.reload.recreate_transaction import Recreation, recreate, rehearse
from recovery.store.case_directory import Case, earlier_repairs
from recovery.workflow.recovery_run import Outcome, RecoveryRun
from recovery.workflow.steps.definitions import (
    NOW,
    OBJECTS_LEFT,
    THEN,
    chosen_entries,
    client_tools,
    definitions_at_target,
    dump,
    dump_target,
    objects_left,
)
from recovery.workflow.steps.load_records import recording
from recovery.workflow.steps.recreate_refusals import refuse, refuse_missing_owners, refuse_present
from recovery.workflow.steps.recreation import (
    dropped_schemas,
    existing_numbers,
    lost_parts,
    read_outcome,
    recreation,
    without,
)

TAKEN_FOR_GRANTED = "public"  # pg_dump writes no CREATE for it
SHOWN = 20


def read_missing(recovery_run: RecoveryRun) -> Outcome:
    """The objects to be made anew, and the rows at T of the tables among them. Raises what leaves nothing to do."""
    plan = recovery_run.case.plan
    with recovery_run.original() as original, recovery_run.copy() as copy:
        then = dump_target(recovery_run, copy)
        sides = TwoCatalogs(original, copy, read_catalog(original), read_catalog(copy))
        missing, parts = _compared(recovery_run, sides, then, dump(recovery_run, NOW, original))
        schemas = _schemas(sides, missing, plan.dropped)
        refuse(recovery_run.case, missing, parts, schemas)
        refuse_missing_owners(recovery_run, original, missing, schemas)
        oldest = min(original.info.server_version, copy.info.server_version)
        tables = _filled(sides.then, missing)
        notices = [*parts.notices, *_values(sides, parts.lost)]
        rewritten = set(names_of([lost for lost in parts.lost if lost.stored]))
        prints = {str(table.name): fingerprint(copy, table, oldest_version_num=oldest) for table in tables}
    truth = AtTarget(fingerprints=prints, sequences=sides.then.sequences, oldest_version_num=oldest)
    return {
        **truth.model_dump(mode="json"),
        "bytes": sum(table.bytes for table in [*tables, *(t for t in sides.now.tables if t.name in rewritten)]),
        "gone": {},
        "objects": [_object(entry).model_dump(mode="json") for entry in missing.entries],
        "schemas": [schema.model_dump(mode="json") for schema in schemas],
        "parts": [lost.model_dump(mode="json") for lost in parts.lost],
        "others": len(missing.others),
        "altered": [
            *(f"{entry.name}: {AS_IT_IS}" for entry in missing.altered if entry.kind != "TABLE"),
            *(f"{entry.name}: it was dropped, and another one has its name" for entry in missing.lost),
            *(f"{entry.name}: it needs {need}, which had another name" for entry, need in missing.unfit),
            *(text for _, text in parts.unknown),
            *parts.differing,
        ],
        "needed": [str(entry) for entry in missing.needed if entry.name not in {lost.at_target for lost in parts.lost}],
        "notices": notices,
    }


def _schemas(sides: TwoCatalogs, missing: MissingObjects, wanted: Sequence[TableName]) -> list[DroppedSchema]:
    """Those that are gone and that no archive holds, where something that is made was in them, or all is meant."""
    needed = {entry.schema for entry in missing.entries}
    named = [name.schema_name for name in wanted if name.name == "*"]
    now = read_schemas(sides.original)
    dumped = {entry.tag for entry in missing.entries if entry.kind == "SCHEMA"}
    return [
        schema
        for name, schema in read_schemas(sides.copy).items()
        if name not in now
        and name not in dumped
        and name == TAKEN_FOR_GRANTED
        and (name in needed or not wanted or any(fnmatchcase(name, pattern) for pattern in named))
    ]


def _values(sides: TwoCatalogs, lost: Sequence[LostParts]) -> Iterator[str]:
    for each in lost:
        if each.is_staged:
            keys = ", ".join(column.now for column in each.key)
            by = f"by {keys}" if keys else "where nobody has written them since"
            yield (
                f"{each.table}: {counted(rows_with_values(sides.copy, each), 'row')} of T give back their values, known"
                f" {by}; nobody reads or writes it meanwhile"
            )
            yield (
                f"{each.table}: nothing tells afterwards who changed its rows since T: what an incident changed is"
                " repaired first (--mode repair)"
            )


def _compared(
    recovery_run: RecoveryRun, sides: TwoCatalogs, then: Sequence[ArchiveEntry], now: Sequence[ArchiveEntry]
) -> tuple[MissingObjects, PartComparison]:
    """What is missing, and what tables that are there lost; each brings what it needs of the other."""
    wanted, given_back = recovery_run.case.plan.dropped, _given_back(recovery_run.case)
    missing = missing_objects(then, now, wanted)
    parts = _parts(sides, missing, given_back)
    while parts.needs - (needed := {entry.oid for entry in missing.entries}):
        again = missing_objects(then, now, wanted, parts.needs)
        if {entry.oid for entry in again.entries} == needed:
            break
        missing, parts = again, _parts(sides, again, given_back)
    return missing, parts


def _given_back(case: Case) -> set[tuple[int, str]]:
    """(table, column) that earlier cases gave back and did not take again."""
    plans = [other.repair_plan for other in earlier_repairs(case) if not other.taken_back]
    return {(lost.oid, column.name) for plan in plans if plan for lost in plan.parts for column in lost.columns}


def _parts(sides: TwoCatalogs, missing: MissingObjects, given_back: set[tuple[int, str]]) -> PartComparison:
    """Of tables that were asked for all that is missing; of others what needs something that is made, or is needed."""
    question = PartQuestion(
        whole={entry.oid for entry in missing.asked},
        made={entry.oid for entry in missing.entries if entry.oid},
        judged={entry.oid for entry in missing.altered if entry.kind == "TABLE"},
        defaults={f"{entry.schema} {entry.tag}" for entry in missing.entries if entry.kind == "DEFAULT"},
        given_back=given_back,
    )
    return compare_parts(sides, question)


def tell_missing(outcome: Outcome) -> str:
    """How much is missing."""
    rows = sum(each["rows"] for each in outcome["fingerprints"].values())
    columns = sum(len(each["columns"]) for each in outcome["parts"])
    gone = counted(len(outcome["objects"]) + len(outcome["schemas"]), "object") + (
        f" and {counted(columns, 'column')}" if columns else ""
    )
    return f"{gone} missing, {counted(rows, 'row')} in {counted(len(outcome['fingerprints']), 'table')} of them"


def plan_recreation(recovery_run: RecoveryRun) -> RepairPlan:
    """What will be made, tried beforehand as far as that needs neither rows nor tables that are there."""
    case, outcome, parts = recovery_run.case, read_outcome(recovery_run), lost_parts(recovery_run)
    with recovery_run.original() as original, recovery_run.copy() as copy:
        what, rehearsed = _rehearsed(recovery_run, original, copy)
        notices = [*outcome["notices"], *who_notices(original, [table.name for table in what.tables])]
        notices += who_notices(original, names_of(parts))
        notices += [f"event trigger {name} sees what is made" for name in event_triggers(original)]
    if others := outcome["others"]:
        notices.append(f"{counted(others, 'more object')} of T are missing and do not hang on these: left as they are")
    notices += [f"{text} is needed, and is not as it was at T" for text in outcome["needed"][:SHOWN]]
    if views := [str(view) for view in what.materialized]:
        notices.append(f"materialized views are filled from the rows of today: {', '.join(views[:SHOWN])}")
    if unlogged := [str(table.name) for table in what.tables if table.unlogged]:
        notices.append(f"unlogged, so no backup holds their rows: {', '.join(unlogged[:SHOWN])}")
    return RepairPlan(
        case=case.id,
        number=None,
        request=case.request,
        tables=(),
        filled=tuple(table.name for table in (*what.tables, *what.late_tables)),
        recreated=tuple(map(_object, chosen_entries(recovery_run))),
        schemas=tuple(dropped_schemas(recovery_run)),
        parts=tuple(parts),
        rehearsed=rehearsed + len(dropped_schemas(recovery_run)),
        differing=(*outcome["altered"], *_left(recovery_run)),
        writers=(),
        held_triggers=(),
        notices=tuple(notices),
        wal_bytes_estimated=outcome["bytes"],
        changes_digest="",
    )


def _rehearsed(recovery_run: RecoveryRun, original: Session, copy: Session) -> tuple[Recreation, int]:
    """What is made, and how much of it was tried. What superusers alone may make is left away, and noted."""
    case, tools = recovery_run.case, client_tools(copy)
    try:
        return _try(recovery_run, original, copy)
    except RowbackError as error:
        chosen = chosen_entries(recovery_run)
        if error.id is not ErrorId.PRIVILEGE_MISSING:
            raise
        schemas = [schema.name for schema in dropped_schemas(recovery_run)]
        left = unmakeable(original, statements(tools, case.directory / THEN, []), chosen, schemas)
        if not left or len(left) == len(chosen):
            raise
        recovery_run.record(OBJECTS_LEFT, data={str(number): why for number, why in left.items()})
        return _try(recovery_run, original, copy)


def _try(recovery_run: RecoveryRun, original: Session, copy: Session) -> tuple[Recreation, int]:
    chosen = chosen_entries(recovery_run)
    what = recreation(recovery_run, read_catalog(copy), copy)
    alone = without(chosen, existing_numbers(definitions_at_target(recovery_run), chosen))
    rehearse(original, what, statements(client_tools(copy), recovery_run.case.directory / THEN, alone))
    return what, len(alone)


def _left(recovery_run: RecoveryRun) -> Iterator[str]:
    by_number = {entry.number: entry for entry in definitions_at_target(recovery_run)}
    for number, why in objects_left(recovery_run).items():
        yield f"{by_number[number]}: it is not made: {why}"


def make_anew(recovery_run: RecoveryRun, original: Session, copy: Session) -> Loaded:
    """The one transaction. Raises plan-facts-changed where something was made meanwhile that has a name of it."""
    _refuse_taken_since(recovery_run, original, copy)
    what = replace(
        recreation(recovery_run, read_catalog(copy), copy),
        say=recovery_run.listener.notice,
    )
    return recreate(original, copy, what, before_commit=recording(recovery_run, "load.intent"))


def _filled(catalog: Catalog, missing: MissingObjects) -> list[Table]:
    """Those that hold rows themselves; what extensions own is theirs."""
    names = set(missing.tables)
    return [table for table in catalog.tables if table.name in names and table.extension is None]


def _refuse_taken_since(recovery_run: RecoveryRun, original: Session, copy: Session) -> None:
    then, chosen = definitions_at_target(recovery_run), chosen_entries(recovery_run)
    now = dump(recovery_run, NOW, original)
    identities = {entry.identity for entry in now}
    present = [str(entry) for entry in chosen if entry.identity in identities]
    sides = TwoCatalogs(original, copy, read_catalog(original), read_catalog(copy))
    _, parts = _compared(recovery_run, sides, then, now)
    present += [str(schema) for schema in dropped_schemas(recovery_run) if schema.name in read_schemas(original)]
    changed = {str(lost.table) for lost in parts.lost} ^ {str(lost.table) for lost in lost_parts(recovery_run)}
    by_name = {lost.table: lost for lost in parts.lost}
    changed |= {str(lost.table) for lost in lost_parts(recovery_run) if by_name.get(lost.table) != lost}
    refuse_present(
        recovery_run.case, [*present, *(f"columns, defaults or checks of {name}" for name in sorted(changed))]
    )


def _object(entry: ArchiveEntry) -> CatalogObject:
    return CatalogObject(number=entry.number, kind=entry.kind, schema_name=entry.schema, tag=entry.tag)
