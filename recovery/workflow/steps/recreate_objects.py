"""Mode recreate, step by step: what is missing, the plan that follows, and how it is made and proven."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from guards.plain_text import shell_word
from recovery.compare.missing_objects import MissingObjects, missing_objects
from recovery.errors import ErrorId, RowbackError
from recovery.model.catalog import Catalog, Table
from recovery.model.catalog_object import CatalogObject
from recovery.model.repair_plan import RepairPlan
from recovery.model.target import format_utc
from recovery.model.values import TableName, counted
from recovery.postgres.archive.schema_archive import dump_definitions, entries_of, statements
from recovery.postgres.archive.table_of_contents import ArchiveEntry, ArchiveSection
from recovery.postgres.change_consumers import event_triggers, who_notices
from recovery.postgres.client_programs import ClientTools, find_client_tools
from recovery.postgres.connect import Session, client_encoding
from recovery.postgres.connection_target import is_loopback
from recovery.postgres.copy_rows import CopyTransport
from recovery.postgres.fingerprint import fingerprint
from recovery.postgres.made_anew import filled_views, privileges
from recovery.postgres.owners import missing_roles
from recovery.postgres.read_catalog import read_catalog
from recovery.reload.load_job import AtTarget, Loaded
from recovery.reload.recreate_transaction import Recreation, recreate, rehearse
from recovery.workflow.recovery_run import UNTOUCHED, Outcome, RecoveryRun
from recovery.workflow.steps.load_records import recording

THEN, NOW = "definitions-then", "definitions-now"
RELATIONS = frozenset({"TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE"})
# What a lock against writers suffices for, on a table that is there; all else needs one against readers as well.
READERS_GO_ON = frozenset({"FK CONSTRAINT", "TRIGGER", "INDEX", "STATISTICS", "COMMENT", "ACL", "PUBLICATION TABLE"})
OWN_INDEXES = frozenset({"CONSTRAINT", "INDEX"})
SHOWN = 20
ALTERED = "it is there, and its columns, defaults or checks are not as they were at T: they are left as they are"


def read_missing(recovery_run: RecoveryRun) -> Outcome:
    """The objects to be made anew, and the rows at T of the tables among them. Raises what leaves nothing to do."""
    plan = recovery_run.case.plan
    with recovery_run.original() as original, recovery_run.copy() as copy:
        then = dump_target(recovery_run, copy)
        missing = missing_objects(then, dump(recovery_run, NOW, original), plan.dropped)
        _refuse(recovery_run, missing)
        _refuse_missing_owners(recovery_run, original, missing)
        catalog, oldest = read_catalog(copy), min(original.info.server_version, copy.info.server_version)
        tables = _filled(catalog, missing)
        prints = {str(table.name): fingerprint(copy, table, oldest_version_num=oldest) for table in tables}
    truth = AtTarget(fingerprints=prints, sequences=catalog.sequences, oldest_version_num=oldest)
    return {
        **truth.model_dump(mode="json"),
        "bytes": sum(table.bytes for table in tables),
        "gone": {},
        "objects": [_object(entry).model_dump(mode="json") for entry in missing.entries],
        "others": len(missing.others),
        "altered": [
            *(f"{_name(entry)}: {ALTERED}" for entry in missing.altered),
            *(f"{_name(entry)}: it was dropped, and another one has its name" for entry in missing.lost),
            *(f"{_name(entry)}: it needs {need}, which had another name" for entry, need in missing.unfit),
        ],
        "needed": [str(entry) for entry in missing.needed],
    }


def dump_target(recovery_run: RecoveryRun, copy: Session) -> list[ArchiveEntry]:
    """The definitions at T, dumped once and before the copy is altered: quarantine lifts FORCE from policies."""
    into = recovery_run.case.directory / THEN
    if not into.is_dir():
        dump(recovery_run, f"{THEN}.part", copy)
        (recovery_run.case.directory / f"{THEN}.part").rename(into)
    return entries_of(into)


def tell_missing(outcome: Outcome) -> str:
    """How much is missing."""
    rows = sum(each["rows"] for each in outcome["fingerprints"].values())
    return (
        f"{counted(len(outcome['objects']), 'object')} missing, {counted(rows, 'row')} in"
        f" {counted(len(outcome['fingerprints']), 'table')} of them"
    )


def plan_recreation(recovery_run: RecoveryRun) -> RepairPlan:
    """What will be made, tried beforehand as far as that needs neither rows nor tables that are there."""
    case, outcome = recovery_run.case, recovery_run.case.outcome_of("read-target")
    assert outcome
    chosen = chosen_entries(recovery_run)
    with recovery_run.original() as original, recovery_run.copy() as copy:
        what = recreation(recovery_run, read_catalog(copy), copy)
        alone = _without_existing(chosen, _existing_numbers(recovery_run, chosen))
        rehearse(original, what, statements(_tools(copy), case.directory / THEN, alone))
        notices = [*who_notices(original, [table.name for table in what.tables])]
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
        filled=tuple(table.name for table in what.tables),
        recreated=tuple(CatalogObject.model_validate(each) for each in outcome["objects"]),
        writers=(),
        unexamined=tuple(outcome["altered"]),
        held_triggers=(),
        notices=tuple(notices),
        wal_bytes_estimated=outcome["bytes"],
        changes_digest="",
    )


def make_anew(recovery_run: RecoveryRun, original: Session, copy: Session) -> Loaded:
    """The one transaction. Raises plan-facts-changed where something was made meanwhile that has a name of it."""
    _refuse_taken_since(recovery_run, original)
    what = replace(
        recreation(recovery_run, read_catalog(copy), copy),
        say=recovery_run.listener.notice,
    )
    return recreate(original, what, CopyTransport(copy), before_commit=recording(recovery_run, "load.intent"))


def rows_at_target(recovery_run: RecoveryRun) -> AtTarget:
    """What the copy held of the tables that were made."""
    outcome = recovery_run.case.outcome_of("read-target")
    assert outcome
    return AtTarget.model_validate({name: outcome[name] for name in AtTarget.model_fields})


def recreation(recovery_run: RecoveryRun, catalog: Catalog, copy: Session) -> Recreation:
    """What is made anew. `catalog`: the copy's."""
    plan, chosen = recovery_run.case.plan, chosen_entries(recovery_run)
    names = {entry.number: _name(entry) for entry in entries_of(recovery_run.case.directory / THEN)}
    existing = _existing_numbers(recovery_run, chosen)
    before, after = in_order(chosen, existing)
    tools, directory = _tools(copy), recovery_run.case.directory / THEN
    relations = frozenset(_name(entry) for entry in chosen if entry.kind in RELATIONS)
    sequences = {_name(entry) for entry in chosen if entry.kind == "SEQUENCE"}
    touched = {number: entry.kind for entry in chosen for number in entry.dependencies if number in existing}
    alone = {
        number
        for entry in chosen
        for number in entry.dependencies
        if number in existing and entry.kind not in READERS_GO_ON | RELATIONS
    }
    outcome = recovery_run.case.outcome_of("read-target")
    assert outcome
    filled = filled_views(copy)
    return Recreation(
        database=plan.database,
        before_rows=statements(tools, directory, before),
        after_rows=statements(tools, directory, after),
        owners=frozenset(entry.owner for entry in chosen if entry.owner),
        tables=[table for table in catalog.tables if str(table.name) in outcome["fingerprints"]],
        relations=relations,
        privileges=privileges(copy, relations | sequences),
        existing=sorted({names[number] for number in touched}, key=lambda name: name.key),
        alone=sorted({names[number] for number in alone}, key=lambda name: name.key),
        materialized=[_name(entry) for entry in chosen if entry.kind == "MATERIALIZED VIEW" and _name(entry) in filled],
        counters=[each for each in catalog.sequences if each.name in sequences],
        truth=rows_at_target(recovery_run),
        lock_timeout_ms=plan.lock_timeout_ms,
        lock_attempts=plan.lock_attempts,
        foreign_keys=sum(entry.kind == "FK CONSTRAINT" for entry in chosen),
    )


def chosen_entries(recovery_run: RecoveryRun) -> list[ArchiveEntry]:
    """The entries that are made anew, in the archive's order."""
    outcome = recovery_run.case.outcome_of("read-target")
    assert outcome
    numbers = {each["number"] for each in outcome["objects"]}
    return [entry for entry in entries_of(recovery_run.case.directory / THEN) if entry.number in numbers]


def in_order(chosen: Sequence[ArchiveEntry], existing: set[int]) -> tuple[list[ArchiveEntry], list[ArchiveEntry]]:
    """What is made before rows come, and what after.

    A partition of a table that is there gets its own indexes first: attached before, it would be given others.
    """
    attached = [entry for entry in chosen if entry.kind == "TABLE ATTACH" and existing & set(entry.dependencies)]
    first = [entry for entry in chosen if entry.section is ArchiveSection.PRE_DATA and entry not in attached]
    last = [entry for entry in chosen if entry.section is not ArchiveSection.PRE_DATA]
    own = [entry for entry in last if entry.kind in OWN_INDEXES]
    return first, [*own, *attached, *(entry for entry in last if entry.kind not in OWN_INDEXES)]


def _without_existing(chosen: Sequence[ArchiveEntry], existing: set[int]) -> list[ArchiveEntry]:
    """Those that need no table that is there, nor anything that needs one."""
    unfit, alone = set(existing), []
    for entry in chosen:  # in the archive's order, so what is needed comes first
        if unfit & set(entry.dependencies):
            unfit.add(entry.number)
        else:
            alone.append(entry)
    return alone


def _existing_numbers(recovery_run: RecoveryRun, chosen: Sequence[ArchiveEntry]) -> set[int]:
    """Tables of T that are there still, to which some of the chosen objects belong."""
    made = {entry.number for entry in chosen}
    tables = (entry for entry in entries_of(recovery_run.case.directory / THEN) if entry.kind == "TABLE")
    return {entry.number for entry in tables if entry.number not in made}


def dump(recovery_run: RecoveryRun, name: str, session: Session) -> list[ArchiveEntry]:
    """Its definitions, into the directory `name` of the case."""
    into = recovery_run.case.directory / name
    # with the password that libpq itself found: a child program is given nothing else of this one's environment
    target = replace(session.target, user=session.info.user, password=session.info.password, service=None)
    return dump_definitions(_tools(session), target, into, encoding=client_encoding(session))


def _tools(session: Session) -> ClientTools:
    major, host = session.info.server_version // 10_000, session.target.endpoint.host
    return find_client_tools(server_major=major, tls=not is_loopback(host))


def _filled(catalog: Catalog, missing: MissingObjects) -> list[Table]:
    """Those that hold rows themselves; what extensions own is theirs."""
    names = set(missing.tables)
    return [table for table in catalog.tables if table.name in names and table.extension is None]


def _refuse(recovery_run: RecoveryRun, missing: MissingObjects) -> None:
    """Raises table-unknown, schema-drift or nothing-to-repair."""
    case = recovery_run.case
    if missing.unknown:
        raise RowbackError(
            ErrorId.TABLE_UNKNOWN,
            f"at {format_utc(case.plan.target_time)} there was no table {', '.join(map(str, missing.unknown))}",
            state=UNTOUCHED,
            help=f"rowback close {case.id}, then plan again with the name it had at T",
        )
    if missing.taken:
        raise RowbackError(
            ErrorId.SCHEMA_DRIFT,
            "other things have the names of what was dropped, or of what hung on it or it needs",
            *(str(entry) for entry in missing.taken[:SHOWN]),
            state=UNTOUCHED,
            help=f"rename or drop them, then: rowback resume {case.id}; to see what tables held:"
            f" rowback close {case.id}, then {case.restore_command('--mode beside', _table_options(missing.taken))}",
        )
    if (missing.moved or missing.unfit) and not missing.entries:
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
    if not missing.entries:
        raise RowbackError(
            ErrorId.NOTHING_TO_REPAIR,
            f"nothing that was there at {format_utc(case.plan.target_time)} is missing in '{case.plan.database}'",
            state=UNTOUCHED,
            help=f"for rows: rowback close {case.id}, then {case.restore_command('--mode missing')}; or earlier: --at",
        )


def _is_no_text(entry: ArchiveEntry) -> bool:
    """Whether bytes of it could not be read, as in a database without an encoding."""
    return any("\ud800" <= character <= "\udfff" for character in str(entry) + entry.definition)


def _table_options(entries: Sequence[ArchiveEntry]) -> str:
    return " ".join(f"--table {shell_word(str(_name(entry)))}" for entry in entries if entry.kind == "TABLE")


def _refuse_missing_owners(recovery_run: RecoveryRun, original: Session, missing: MissingObjects) -> None:
    """Raises privilege-missing: what belonged to a role cannot be made without it."""
    owners = {entry.owner for entry in missing.entries if entry.owner}
    if gone := missing_roles(original, owners):
        raise RowbackError(
            ErrorId.PRIVILEGE_MISSING,
            f"roles that own what was dropped do not exist any more: {', '.join(gone)}",
            state=UNTOUCHED,
            help="make them again: "
            + "; ".join(f'create role "{name}"' for name in gone)
            + f"; then rowback resume {recovery_run.case.id}",
        )


def _refuse_taken_since(recovery_run: RecoveryRun, original: Session) -> None:
    now = {entry.identity for entry in dump(recovery_run, NOW, original)}
    if present := [str(entry) for entry in chosen_entries(recovery_run) if entry.identity in now]:
        raise RowbackError(
            ErrorId.PLAN_FACTS_CHANGED,
            "objects that were missing are there now",
            *present[:SHOWN],
            state=UNTOUCHED,
            help=f"find out who made them; then rowback close {recovery_run.case.id}, and a new plan",
        )


def _object(entry: ArchiveEntry) -> CatalogObject:
    return CatalogObject(number=entry.number, kind=entry.kind, schema_name=entry.schema, tag=entry.tag)


def _name(entry: ArchiveEntry) -> TableName:
    return TableName(schema_name=entry.schema, name=entry.tag)
