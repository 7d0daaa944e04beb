"""Remove copies of dead cases and rehearsals: each instance is judged by itself, and what is not proven is kept."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from recovery.aws.restorable_source import RestorableSource
from recovery.errors import ErrorId, RowbackError
from recovery.model.deletion import Copy, objections_to_delete
from recovery.model.instance import COPY_PREFIX, TAG_CASE, TAG_EXPIRES, InstanceFacts
from recovery.store.case_directory import Case, cases_directory, fold
from recovery.store.journal import is_driven, read_records
from recovery.store.rehearsal_journal import RehearsalInstance, forget, rehearsal_instances

DEADLINE_S = 3600.0


def reap(instances: RestorableSource, *, remove: bool) -> Iterator[tuple[InstanceFacts, str]]:
    """Every instance that carries our prefix, with what was done about it. Deletes only copies of dead cases.

    A case is dead when no process drives it and it is closed, or its copy has expired by its own tag; a drill or an
    acceptance run when no process drives it. "removed" is said of an instance that was deleted and is gone.
    """
    of_rehearsals = {each.copy.identifier: each for each in rehearsal_instances()}
    for instance in instances.copies():
        rehearsal = of_rehearsals.get(instance.identifier)
        try:
            copy = _dead_rehearsal(instance, rehearsal) if rehearsal else _dead_case(instance).copy
        except _Kept as kept:
            yield instance, f"kept: {kept}"
            continue
        outcome = _remove(instances, instance, copy) if remove else "would be removed"
        if rehearsal and outcome == "removed":
            forget(rehearsal)
        yield instance, outcome


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


def _dead_rehearsal(instance: InstanceFacts, rehearsal: RehearsalInstance) -> Copy:
    """What a drill or an acceptance run made and left. Raises _Kept with the reason why it is not that."""
    if objections := objections_to_delete(instance, rehearsal.copy):
        raise _Kept(f"it is not proven to be made by {rehearsal.run}: {'; '.join(objections)}")
    if rehearsal.is_driven:
        raise _Kept(f"{rehearsal.run} is being driven by another process")
    return rehearsal.copy


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
    return "removed" if deleted else "was gone already"


def _expired(text: str) -> bool:
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")) < datetime.now(UTC)
    except (ValueError, TypeError):
        return False
