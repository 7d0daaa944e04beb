"""Remove copies of dead cases and rehearsals: each instance is judged by itself, and what is not proven is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from recovery.aws.restorable_source import RestorableSource
from recovery.errors import ErrorId, RowbackError
from recovery.model.deletion import Copy, objections_to_delete
from recovery.model.instance import COPY_PREFIX, TAG_CASE, TAG_EXPIRES, InstanceFacts
from recovery.store.case_directory import Case, cases_directory, fold
from recovery.store.journal import is_driven, read_records
from recovery.store.rehearsal_journal import UnfinishedRehearsal, forget, rehearsals

DEADLINE_S = 3600.0
APPEARS = timedelta(minutes=15)
REMOVED, GONE = "removed", "was gone already"


def reap(
    instances: RestorableSource, *, remove: bool, remove_group: Callable[[str], None]
) -> Iterator[tuple[str, str]]:
    """Everything that carries our prefix, by name, with what was done about it. Deletes only what dead cases left.

    A case is dead when no process drives it and it is closed, or its copy has expired by its own tag; a drill or an
    acceptance run when no process drives it. "removed" is said of what was deleted and is gone. `remove_group`: deletes
    a parameter group that such a run made, where all else of it is gone.
    """
    of_rehearsals = {copy.identifier: each for each in rehearsals() for copy in each.copies}
    for instance in instances.copies():
        if instance.identifier in of_rehearsals:
            continue
        try:
            copy = _dead_case(instance).copy
        except _Kept as kept:
            yield instance.identifier, f"kept: {kept}"
            continue
        yield instance.identifier, _remove(instances, instance, copy) if remove else "would be removed"
    for rehearsal in rehearsals():
        outcomes = dict(_reap_rehearsal(instances, rehearsal, remove=remove))
        yield from outcomes.items()
        if remove and not rehearsal.is_driven:
            gone = [name for name, outcome in outcomes.items() if outcome in {REMOVED, GONE}]
            groups = rehearsal.groups if len(gone) == len(outcomes) else ()
            for name in groups:
                remove_group(name)
            forget(rehearsal, copies=gone, groups=groups)


def _reap_rehearsal(
    instances: RestorableSource, rehearsal: UnfinishedRehearsal, *, remove: bool
) -> Iterator[tuple[str, str]]:
    """What one drill or acceptance run left: copies first, then what they were copies of."""
    for copy in reversed(rehearsal.copies):
        try:
            outcome = _outcome(instances, rehearsal, copy, remove=remove)
        except _Kept as reason:
            outcome = f"kept: {reason}"
        yield copy.identifier, outcome


def _outcome(instances: RestorableSource, rehearsal: UnfinishedRehearsal, copy: Copy, *, remove: bool) -> str:
    """Raises _Kept."""
    if rehearsal.is_driven:
        raise _Kept(f"{rehearsal.run} is being driven by another process")
    instance = instances.find(copy.identifier)
    if instance is None:
        if _may_appear(copy):
            raise _Kept("it is not to be seen, and was asked for a moment ago: run this again in a quarter of an hour")
        return GONE
    if objections := objections_to_delete(instance, copy):
        raise _Kept(f"it is not proven to be made by {rehearsal.run}: {'; '.join(objections)}")
    if instance.deletion_protection:
        raise _Kept(
            "it is protected from deletion, by a person or a rule; to take that back: aws rds modify-db-instance"
            f" --no-deletion-protection --db-instance-identifier {copy.identifier}"
        )
    return _remove(instances, instance, copy) if remove else "would be removed"


def _may_appear(copy: Copy) -> bool:
    """Whether a call whose answer was lost may still make it: RDS shows new instances within minutes."""
    return (
        copy.resource_id is None
        and copy.creation is not None
        and datetime.now(UTC) - copy.creation.requested_at < APPEARS
    )


class _Kept(Exception):
    """Why an instance stays."""


def _dead_case(instance: InstanceFacts) -> Case:
    """The dead case whose copy `instance` is proven to be. Raises _Kept with the reason why it is not one."""
    case = _case_of(instance)
    if objections := objections_to_delete(instance, case.copy):
        raise _Kept(f"it is not proven to be the copy of case {case.id}: {'; '.join(objections)}")
    if instance.deletion_protection:
        raise _Kept(f"it is protected from deletion, by a person or a rule: rowback close {case.id} takes that back")
    if is_driven(case.directory):
        raise _Kept(f"case {case.id} is being driven by another process")
    expires = instance.tags.get(TAG_EXPIRES, "")
    if case.closed_at is None and not _expired(expires):
        raise _Kept(f"case {case.id} is paused until {expires}: rowback resume {case.id}, or rowback close {case.id}")
    return case


def _case_of(instance: InstanceFacts) -> Case:
    """By its name alone; the tag has to agree. Raises _Kept."""
    name = instance.identifier.removeprefix(COPY_PREFIX)
    directories = cases_directory()
    case_names = {path.name for path in directories.iterdir()} if directories.is_dir() else set()
    if name not in case_names:
        tagged = instance.tags.get(TAG_CASE, name)
        raise _Kept(
            f"case '{tagged}' has no journal on this machine, so its resource id cannot be proven"
            if tagged == name
            else f"it is tagged as of case '{tagged}', whose copy is"
            f" '{COPY_PREFIX}{tagged}', so nothing here proves whose it is"
        )
    try:
        return fold(directories / name, read_records(directories / name, proven=True))
    except RowbackError as error:
        raise _Kept(error.fact) from error


def _remove(instances: RestorableSource, instance: InstanceFacts, copy: Copy) -> str:
    # Where nobody saw the create call answered, `instance` was proven by its nonce: it and no other is deleted.
    proven = copy.model_copy(update={"resource_id": instance.resource_id})
    try:
        deleted = instances.delete_copy(proven, deadline_s=DEADLINE_S, watch=lambda status, seconds: None)
    except RowbackError as error:
        if error.id is not ErrorId.DELETE_REFUSED:
            raise
        return f"kept: {error.fact}: {'; '.join(error.facts)}"
    return REMOVED if deleted else GONE


def _expired(text: str) -> bool:
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")) < datetime.now(UTC)
    except (ValueError, TypeError):
        return False
