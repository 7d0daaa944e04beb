"""Remove copies of dead cases and rehearsals: each instance is judged by itself, and what is not proven is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from recovery.aws.restorable_source import RestorableSource
from recovery.errors import ErrorId, RowbackError
from recovery.model.deletion import Copy, objections_to_delete
from recovery.model.instance import COPY_PREFIX, TAG_CASE, TAG_EXPIRES, InstanceFacts
from recovery.store.case_directory import Case, cases_directory, fold
from recovery.store.journal import is_driven, read_records
from recovery.store.rehearsal_journal import UnfinishedRehearsal, forget, rehearsals

DEADLINE_S = 3600.0
REMOVED, GONE, WOULD_BE = "removed", "was gone already", "would be removed"


@dataclass(frozen=True)
class Reaped:
    """What was done about one instance or parameter group, by its name."""

    kind: Literal["instance", "parameter group"]
    name: str
    outcome: str


def reap(instances: RestorableSource, *, remove: bool, remove_group: Callable[[str], None]) -> Iterator[Reaped]:
    """Everything that carries our prefix, with what was done about it. Deletes only what dead cases left.

    A case is dead when no process drives it and it is closed, or its copy has expired by its own tag; a drill or an
    acceptance run when no process drives it. "removed" is said of what was deleted and is gone. `remove_group`: deletes
    a parameter group that such a run made, where all else of it is gone; what AWS refuses of it is kept.
    """
    of_rehearsals = {copy.identifier: each for each in rehearsals() for copy in each.copies}
    for instance in instances.copies():
        if instance.identifier in of_rehearsals:
            continue
        try:
            copy = _dead_case(instance).copy
        except _Kept as kept:
            yield Reaped("instance", instance.identifier, f"kept: {kept}")
            continue
        outcome = _remove(instances, instance, copy) if remove else WOULD_BE
        yield Reaped("instance", instance.identifier, outcome)
    for rehearsal in rehearsals():
        copies = list(_reap_rehearsal(instances, rehearsal, remove=remove))
        yield from copies
        gone = [each.name for each in copies if each.outcome in {REMOVED, GONE}]
        if remove and gone:
            forget(rehearsal, copies=gone, groups=())
        of_copies = frozenset(each.outcome for each in copies)
        yield from _reap_groups(rehearsal, of_copies, remove_group if remove else None)


def _reap_groups(
    rehearsal: UnfinishedRehearsal, of_copies: frozenset[str], remove_group: Callable[[str], None] | None
) -> Iterator[Reaped]:
    """`of_copies`: what became of the run's instances; a group that one of them may use stays."""
    for name in rehearsal.groups:
        if rehearsal.is_driven:
            outcome = f"kept: {rehearsal.run} is being driven by another process"
        elif of_copies - {REMOVED, GONE, WOULD_BE}:
            outcome = f"kept: an instance of {rehearsal.run} is kept"
        elif remove_group is None:
            outcome = WOULD_BE
        else:
            outcome = _remove_group(rehearsal, name, remove_group)
        yield Reaped("parameter group", name, outcome)


def _remove_group(rehearsal: UnfinishedRehearsal, name: str, remove_group: Callable[[str], None]) -> str:
    try:
        remove_group(name)
    except RowbackError as error:
        return f"kept: {error.fact}"
    forget(rehearsal, copies=(), groups=(name,))
    return REMOVED


def _reap_rehearsal(instances: RestorableSource, rehearsal: UnfinishedRehearsal, *, remove: bool) -> Iterator[Reaped]:
    """The instances that one drill or acceptance run left: copies first, then what they were copies of."""
    for copy in reversed(rehearsal.copies):
        try:
            outcome = _outcome(instances, rehearsal, copy, remove=remove)
        except _Kept as reason:
            outcome = f"kept: {reason}"
        yield Reaped("instance", copy.identifier, outcome)


def _outcome(instances: RestorableSource, rehearsal: UnfinishedRehearsal, copy: Copy, *, remove: bool) -> str:
    """Raises _Kept."""
    if rehearsal.is_driven:
        raise _Kept(f"{rehearsal.run} is being driven by another process")
    instance = instances.find(copy.identifier)
    if instance is None:
        if copy.may_still_appear(datetime.now(UTC)):
            raise _Kept("it is not to be seen, and was asked for a moment ago: run this again in a quarter of an hour")
        return GONE
    if objections := objections_to_delete(instance, copy):
        raise _Kept(f"it is not proven to be made by {rehearsal.run}: {'; '.join(objections)}")
    if instance.deletion_protection:
        raise _Kept(
            "it is protected from deletion, by a person or a rule; to take that back: aws rds modify-db-instance"
            f" --no-deletion-protection --db-instance-identifier {copy.identifier}"
        )
    return _remove(instances, instance, copy) if remove else WOULD_BE


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
