"""The copy of a real instance that a drill breaks in the instance's place: made, proven, taken over, removed."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from recovery.aws.clients import was_refused
from recovery.aws.restorable_source import RestorableSource, StatusListener
from recovery.aws.settling import SETTLED
from recovery.config import IamCredentials, LibpqCredentials, Profile
from recovery.errors import ErrorId, RowbackError
from recovery.model.catalog import DatabaseIdentity
from recovery.model.deletion import Copy, CreationRequest
from recovery.model.instance import TAG_DATABASE, TAG_SOURCE, CopySettings, InstanceFacts
from recovery.planning.check_request import last_second
from recovery.planning.original_login import by_token_on_copy, target_on_copy, target_on_original
from recovery.postgres.connect import Session, await_login, connect
from recovery.postgres.connection_target import Target
from recovery.postgres.quarantine import make_inert, prove_copy
from recovery.redaction import remember
from recovery.store.rehearsal_journal import RehearsalJournal
from recovery.workflow.case_lifecycle import terminate_like_interrupt
from recovery.workflow.recovery_run import Listener
from runbooks.drills.drill_measures import PhaseClock

PATIENCE_S = 4 * 3600.0  # the first backup of a large instance takes hours, and 5 min more to be seen
LOGIN_DEADLINE_S = 300.0
UNSEEN_LOOKS = 30  # RDS shows a new instance within minutes
NOT_BROKEN = "nothing was broken, nothing was written"


@dataclass(frozen=True)
class StandIn:
    """The copy that is broken in the instance's place.

    `way`: how it is logged in to, made anew each time: by `password`, or by a token, which ends in 15 minutes.
    """

    facts: InstanceFacts
    way: Callable[[], Target]
    password: str
    credentials: LibpqCredentials | IamCredentials


@dataclass(frozen=True)
class Scene:
    """What is known of the instance that is not to be touched."""

    instances: RestorableSource
    source: InstanceFacts
    database: str
    identity: DatabaseIdentity
    profile: Profile
    settings: CopySettings


def refuse_second_drill(instances: RestorableSource, source: InstanceFacts) -> None:
    """Raise case-open while a drill's copy of `source` exists: it is the one copy without a database."""
    for copy in instances.copies():
        if copy.tags.get(TAG_SOURCE) == source.resource_id and TAG_DATABASE not in copy.tags:
            raise RowbackError(
                ErrorId.CASE_OPEN,
                f"'{copy.identifier}' is there already, a drill's copy of '{source.identifier}'",
                f"it is '{copy.status}'; a drill is running, or was killed before it could remove its copy",
                state="nothing was created, nothing was written",
                help="when no drill is running: rowback reap on the machine that began it, or"
                f" {_by_hand(copy.identifier)}",
            )


def new_copy(instances: RestorableSource, source: InstanceFacts) -> Copy:
    """A copy of `source` as of the last second before its latest restorable time."""
    now = datetime.now(UTC)
    window = instances.window(source)
    last = last_second(window)
    return Copy(
        case=f"drill-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}",
        source_resource_id=source.resource_id,
        creation=CreationRequest(nonce=secrets.token_hex(16), requested_at=now, target_time=max(last, window.earliest)),
    )


def ask_for(
    instances: RestorableSource, source: InstanceFacts, copy: Copy, settings: CopySettings, journal: RehearsalJournal
) -> InstanceFacts:
    """Record it in `journal` and begin restoring it.

    What RDS refuses was never made; what it did not answer for may have been, and stays in the journal.
    """
    journal.requested(copy)
    try:
        facts = instances.start_copy(copy, source, None, settings)
    except RowbackError as error:
        if was_refused(error):
            journal.gone(copy)
        raise
    journal.created(copy, facts.resource_id)
    return facts


def take_over(scene: Scene, facts: InstanceFacts, listener: Listener) -> StandIn:
    """Wait for it; prove that it is another server before anything of it is changed; make it inert."""
    instances = scene.instances
    ready = _ready(scene, facts, listener)
    password = instances.reset_password(facts.identifier, deadline_s=PATIENCE_S, watch=listener.progress)
    remember(password)
    ways: list[Callable[[], Target]] = [lambda: target_on_copy(ready, scene.database, password, scene.profile)]
    if scene.settings.iam_authentication:
        ways.append(lambda: by_token_on_copy(ready, scene.database, scene.profile))
    number = await_login(ways, deadline_s=LOGIN_DEADLINE_S, pause_s=instances.poll_s)
    way, user = ways[number], ready.master_username
    with connect(way(), state=NOT_BROKEN) as copy:
        prove(scene, copy)
    make_inert(way())
    by_token = IamCredentials(source="iam", user=user)
    return StandIn(ready, way, password, by_token if number else LibpqCredentials(user=user))


def _ready(scene: Scene, facts: InstanceFacts, listener: Listener) -> InstanceFacts:
    try:
        return scene.instances.wait_ready(facts.identifier, deadline_s=PATIENCE_S, watch=listener.progress)
    except RowbackError as error:
        if error.id is not ErrorId.COPY_FAILED:
            raise
        raise RowbackError(
            error.id,
            error.fact,
            *error.facts,
            state=f"nothing was broken; the copy is removed; nothing was written to '{scene.source.identifier}'",
            help="run the drill again once the reason is gone",
        ) from error


def prove(scene: Scene, copy: Session) -> None:
    """Refuse unless `copy` is on another server than the instance, and a physical copy of it."""
    source = scene.instances.get(scene.source.identifier)
    with connect(target_on_original(source, scene.database, scene.profile), state=NOT_BROKEN) as live:
        prove_copy(live, copy, scene.identity)


def await_backup(instances: RestorableSource, facts: InstanceFacts, listener: Listener) -> None:
    """Have RDS keep backups of it, and return once there is one to restore from.

    Not before it was taken over: while the first one is made, which takes hours of a large one, RDS changes nothing.
    """
    began = time.monotonic()
    instances.keep_backups(facts.identifier, days=1, deadline_s=PATIENCE_S, watch=listener.progress)
    facts = facts.model_copy(update={"retention_days": 1})
    while True:
        try:
            instances.window(facts)
            return
        except RowbackError as error:
            if error.id is not ErrorId.BACKUPS_OFF or time.monotonic() - began > PATIENCE_S:
                raise
        listener.progress("no backup yet", time.monotonic() - began)
        time.sleep(instances.poll_s)


@contextlib.contextmanager
def removing(instances: RestorableSource, journal: RehearsalJournal, clock: PhaseClock) -> Iterator[None]:
    """Whatever happens inside, what `journal` names as made is deleted and gone in the end, the newest first.

    Each under the same guard as every copy. Where one cannot be deleted, the others are all the same.
    """
    with contextlib.ExitStack() as removals:
        try:
            with terminate_like_interrupt():
                yield
        finally:
            for copy in journal.remaining:
                removals.callback(_remove, instances, copy, journal, clock)


def _remove(instances: RestorableSource, copy: Copy, journal: RehearsalJournal, clock: PhaseClock) -> None:
    with clock.phase("stand-in-gone", f"remove '{copy.identifier}'"):
        remove_at_last(instances, copy, clock.listener.progress, journal)


def remove_at_last(instances: RestorableSource, copy: Copy, watch: StatusListener, journal: RehearsalJournal) -> bool:
    """Delete what was asked for and wait until it is gone; False where it was not to be seen at any look.

    RDS may show it only minutes after the call that made it. Without a resource id no answer of that call was received,
    and the nonce proves that it is the copy. Either way it is gone for `journal`: five minutes of nothing mean that.
    """
    assert copy.creation is not None
    young = datetime.now(UTC) - copy.creation.requested_at < SETTLED
    for _ in range(UNSEEN_LOOKS if young else 1):
        if _delete(instances, copy, watch):
            journal.gone(copy)
            return True
        time.sleep(instances.poll_s)
    journal.gone(copy)
    return False


def _delete(instances: RestorableSource, copy: Copy, watch: StatusListener) -> bool:
    try:
        return instances.delete_copy(copy, deadline_s=PATIENCE_S, watch=watch)
    except RowbackError as error:
        raise RowbackError(
            error.id,
            error.fact,
            *error.facts,
            state=f"'{copy.identifier}' may still be running and costs money",
            help=f"rowback reap, or {_by_hand(copy.identifier)}",
        ) from error


def _by_hand(identifier: str) -> str:
    return (
        "aws rds delete-db-instance --skip-final-snapshot --delete-automated-backups --db-instance-identifier "
        + identifier
    )


def left_over(instances: RestorableSource, stand_in: StandIn) -> tuple[str, ...]:
    """Copies that the repair of the copy left behind."""
    source = stand_in.facts.resource_id
    return tuple(copy.identifier for copy in instances.copies() if copy.tags.get(TAG_SOURCE) == source)
