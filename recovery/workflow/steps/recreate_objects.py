"""Mode recreate, step by step: what is missing, the plan that follows, and how it is made and proven."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from recovery.compare.lost_parts import AS_IT_IS, PartComparison, PartQuestion, TwoCatalogs, compare_parts
from recovery.compare.missing_objects import RELATIONS, MissingObjects, missing_objects
from recovery.model.catalog import Catalog, Table
from recovery.model.catalog_object import CatalogObject
from recovery.model.repair_plan import RepairPlan
from recovery.model.table_parts import LostParts, names_of
from recovery.model.values import TableName, counted
from recovery.postgres.archive.schema_archive import statements
from recovery.postgres.archive.table_of_contents import ArchiveEntry, ArchiveSection
from recovery.postgres.change_consumers import event_triggers, who_notices
from recovery.postgres.connect import Session
from recovery.postgres.fingerprint import fingerprint
from recovery.postgres.made_anew import filled_views, privileges
from recovery.postgres.read_catalog import read_catalog
from recovery.postgres.value_stage import rows_with_values
from recovery.reload.load_job import AtTarget, Loaded
from recovery.reload.recreate_transaction import Recreation, recreate, rehearse
from recovery.workflow.recovery_run import Outcome, RecoveryRun
from recovery.workflow.steps.definitions import (
    NOW,
    THEN,
    chosen_entries,
    client_tools,
    definitions_at_target,
    dump,
    dump_target,
)
from recovery.workflow.steps.load_records import recording
from recovery.workflow.steps.recreate_refusals import refuse, refuse_missing_owners, refuse_present

# Of relations those that are locked as tables are, and granted on as such.
LOCKABLE = RELATIONS - {"SEQUENCE"}
# What a lock against writers suffices for, on a table that is there; all else needs one against readers as well.
READERS_GO_ON = frozenset({"FK CONSTRAINT", "TRIGGER", "INDEX", "STATISTICS", "COMMENT", "ACL", "PUBLICATION TABLE"})
OWN_INDEXES = frozenset({"CONSTRAINT", "INDEX"})
SHOWN = 20


def read_missing(recovery_run: RecoveryRun) -> Outcome:
    """The objects to be made anew, and the rows at T of the tables among them. Raises what leaves nothing to do."""
    plan = recovery_run.case.plan
    with recovery_run.original() as original, recovery_run.copy() as copy:
        then = dump_target(recovery_run, copy)
        missing = missing_objects(then, dump(recovery_run, NOW, original), plan.dropped)
        sides = TwoCatalogs(original, copy, read_catalog(original), read_catalog(copy))
        parts = _parts(sides, missing)
        refuse(recovery_run.case, missing, parts)
        refuse_missing_owners(recovery_run, original, missing)
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


def _values(sides: TwoCatalogs, lost: Sequence[LostParts]) -> Iterator[str]:
    for each in lost:
        if each.stored:
            by = (
                f"by {', '.join(column.now for column in each.key)}"
                if each.key
                else "where nobody has written them since"
            )
            yield (
                f"{each.table}: {counted(rows_with_values(sides.copy, each), 'row')} of T give back their values, known"
                f" {by}; nobody reads or writes it meanwhile"
            )
            yield (
                f"{each.table}: nothing tells afterwards who changed its rows since T: what an incident changed is"
                " repaired first (--mode repair)"
            )


def _parts(sides: TwoCatalogs, missing: MissingObjects) -> PartComparison:
    """Of tables that were asked for all that is missing; of others what needs something that is made anew."""
    made = {entry.oid for entry in missing.entries if entry.oid}
    wanted: dict[int, set[int] | None] = {entry.oid: made for entry in missing.altered if entry.kind == "TABLE"}
    wanted |= {entry.oid: None for entry in missing.asked}
    defaults = {f"{entry.schema} {entry.tag}" for entry in missing.entries if entry.kind == "DEFAULT"}
    judged = [entry.oid for entry in missing.altered]
    return compare_parts(sides, PartQuestion(wanted, judged, defaults))


def tell_missing(outcome: Outcome) -> str:
    """How much is missing."""
    rows = sum(each["rows"] for each in outcome["fingerprints"].values())
    columns = sum(len(each["columns"]) for each in outcome["parts"])
    gone = counted(len(outcome["objects"]), "object") + (f" and {counted(columns, 'column')}" if columns else "")
    return f"{gone} missing, {counted(rows, 'row')} in {counted(len(outcome['fingerprints']), 'table')} of them"


def plan_recreation(recovery_run: RecoveryRun) -> RepairPlan:
    """What will be made, tried beforehand as far as that needs neither rows nor tables that are there."""
    case, outcome, parts = recovery_run.case, _outcome(recovery_run), lost_parts(recovery_run)
    chosen = chosen_entries(recovery_run)
    with recovery_run.original() as original, recovery_run.copy() as copy:
        what = recreation(recovery_run, read_catalog(copy), copy)
        alone = _without(chosen, _existing_numbers(definitions_at_target(recovery_run), chosen))
        rehearse(original, what, statements(client_tools(copy), case.directory / THEN, alone))
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
        recreated=tuple(CatalogObject.model_validate(each) for each in outcome["objects"]),
        parts=tuple(parts),
        rehearsed=len(alone),
        differing=tuple(outcome["altered"]),
        writers=(),
        held_triggers=(),
        notices=tuple(notices),
        wal_bytes_estimated=outcome["bytes"],
        changes_digest="",
    )


def make_anew(recovery_run: RecoveryRun, original: Session, copy: Session) -> Loaded:
    """The one transaction. Raises plan-facts-changed where something was made meanwhile that has a name of it."""
    _refuse_taken_since(recovery_run, original, copy)
    what = replace(
        recreation(recovery_run, read_catalog(copy), copy),
        say=recovery_run.listener.notice,
    )
    return recreate(original, copy, what, before_commit=recording(recovery_run, "load.intent"))


def rows_at_target(recovery_run: RecoveryRun) -> AtTarget:
    """What the copy held of the tables that were made."""
    outcome = _outcome(recovery_run)
    return AtTarget.model_validate({name: outcome[name] for name in AtTarget.model_fields})


def lost_parts(recovery_run: RecoveryRun) -> list[LostParts]:
    """What tables that are there get back."""
    return [LostParts.model_validate(each) for each in _outcome(recovery_run)["parts"]]


@dataclass(frozen=True)
class Ordered:
    """Entries in the order of making: what columns that come back may need, what needs them, what is last."""

    first: Sequence[ArchiveEntry]
    with_columns: Sequence[ArchiveEntry]
    last: Sequence[ArchiveEntry]


def recreation(recovery_run: RecoveryRun, catalog: Catalog, copy: Session) -> Recreation:
    """What is made anew. `catalog`: the copy's."""
    plan, chosen, parts = recovery_run.case.plan, chosen_entries(recovery_run), lost_parts(recovery_run)
    then = definitions_at_target(recovery_run)
    existing = _existing_numbers(then, chosen)
    order = ordered(then, chosen, parts)
    tools, directory = client_tools(copy), recovery_run.case.directory / THEN
    names = {entry.number: entry.name for entry in then}
    relations = frozenset(entry.name for entry in chosen if entry.kind in LOCKABLE)
    sequences = {entry.name for entry in chosen if entry.kind == "SEQUENCE"}
    touched = [(names[number], entry.kind) for entry in chosen for number in entry.dependencies if number in existing]
    alone = {name for name, kind in touched if kind not in READERS_GO_ON | RELATIONS} | set(names_of(parts))
    filled = filled_views(copy)
    late = {entry.name for entry in order.with_columns}
    tables = [table for table in catalog.tables if str(table.name) in _outcome(recovery_run)["fingerprints"]]
    return Recreation(
        database=plan.database,
        before_rows=statements(tools, directory, order.first),
        with_columns=statements(tools, directory, order.with_columns),
        after_rows=statements(tools, directory, order.last),
        owners=frozenset({entry.owner for entry in chosen if entry.owner} | {lost.owner for lost in parts}),
        tables=[table for table in tables if table.name not in late],
        late_tables=[table for table in tables if table.name in late],
        parts=parts,
        relations=relations,
        privileges=privileges(copy, relations | sequences),
        existing=_by_name({name for name, _ in touched} | alone),
        alone=_by_name(alone),
        materialized=[entry.name for entry in chosen if entry.kind == "MATERIALIZED VIEW" and entry.name in filled],
        counters=[each for each in catalog.sequences if each.name in sequences],
        sequences=catalog.sequences,
        truth=rows_at_target(recovery_run),
        lock_timeout_ms=plan.lock_timeout_ms,
        lock_attempts=plan.lock_attempts,
        foreign_keys=sum(entry.kind == "FK CONSTRAINT" for entry in chosen),
    )


def ordered(then: Sequence[ArchiveEntry], chosen: Sequence[ArchiveEntry], parts: Sequence[LostParts]) -> Ordered:
    """What is made before rows and columns come, what with the columns, and what after.

    A partition of a table that is there gets its own indexes first: attached before, it would be given others.
    """
    existing = _existing_numbers(then, chosen)
    altered = {lost.at_target for lost in parts if lost.columns}
    attached = [entry for entry in chosen if entry.kind == "TABLE ATTACH" and existing & set(entry.dependencies)]
    definitions = [entry for entry in chosen if entry.section is ArchiveSection.PRE_DATA and entry not in attached]
    first = _without(definitions, {entry.number for entry in then if entry.kind == "TABLE" and entry.name in altered})
    last = [entry for entry in chosen if entry.section is not ArchiveSection.PRE_DATA]
    own = [entry for entry in last if entry.kind in OWN_INDEXES]
    made = {entry.number for entry in first}
    return Ordered(
        first,
        [entry for entry in definitions if entry.number not in made],
        [*own, *attached, *(entry for entry in last if entry.kind not in OWN_INDEXES)],
    )


def _without(chosen: Sequence[ArchiveEntry], needed: Iterable[int]) -> list[ArchiveEntry]:
    """Those that need none of these, nor anything that needs one."""
    unfit, alone = set(needed), []
    for entry in chosen:  # in the archive's order, so what is needed comes first
        if unfit & set(entry.dependencies):
            unfit.add(entry.number)
        else:
            alone.append(entry)
    return alone


def _existing_numbers(then: Sequence[ArchiveEntry], chosen: Sequence[ArchiveEntry]) -> set[int]:
    """Tables of T that are there still, to which some of the chosen objects belong."""
    made = {entry.number for entry in chosen}
    return {entry.number for entry in then if entry.kind == "TABLE" and entry.number not in made}


def _filled(catalog: Catalog, missing: MissingObjects) -> list[Table]:
    """Those that hold rows themselves; what extensions own is theirs."""
    names = set(missing.tables)
    return [table for table in catalog.tables if table.name in names and table.extension is None]


def _refuse_taken_since(recovery_run: RecoveryRun, original: Session, copy: Session) -> None:
    then, chosen = definitions_at_target(recovery_run), chosen_entries(recovery_run)
    now = dump(recovery_run, NOW, original)
    identities = {entry.identity for entry in now}
    present = [str(entry) for entry in chosen if entry.identity in identities]
    missing = missing_objects(then, now, recovery_run.case.plan.dropped)
    parts = _parts(TwoCatalogs(original, copy, read_catalog(original), read_catalog(copy)), missing)
    changed = {str(lost.table) for lost in parts.lost} ^ {str(lost.table) for lost in lost_parts(recovery_run)}
    by_name = {lost.table: lost for lost in parts.lost}
    changed |= {str(lost.table) for lost in lost_parts(recovery_run) if by_name.get(lost.table) != lost}
    refuse_present(
        recovery_run.case, [*present, *(f"columns, defaults or checks of {name}" for name in sorted(changed))]
    )


def _object(entry: ArchiveEntry) -> CatalogObject:
    return CatalogObject(number=entry.number, kind=entry.kind, schema_name=entry.schema, tag=entry.tag)


def _by_name(names: Iterable[TableName]) -> list[TableName]:
    return sorted(names, key=lambda name: name.key)


def _outcome(recovery_run: RecoveryRun) -> Outcome:
    outcome = recovery_run.case.outcome_of("read-target")
    assert outcome
    return outcome
