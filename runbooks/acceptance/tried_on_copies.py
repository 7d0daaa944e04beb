"""What is tried on restored copies: when they can be used, what they are, and that they can be removed."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from botocore.exceptions import ClientError

from recovery.aws.clients import code_of
from recovery.aws.instances import Instances
from recovery.config import Profile
from recovery.errors import ErrorId, RowbackError
from recovery.model.deletion import Copy, CreationRequest
from recovery.model.instance import CopySettings, InstanceFacts, RestoreWindow
from recovery.model.target import format_utc
from recovery.model.values import counted
from recovery.planning.original_login import target_on_copy
from recovery.postgres.comparison.row_lineage import BURNED_AT_MOST, next_xid, own_boundary
from recovery.postgres.connect import Session, await_login, connect, one
from recovery.postgres.connection_target import Target
from recovery.redaction import remember
from recovery.store.rehearsal_journal import RehearsalJournal
from runbooks.acceptance.assumptions import Answer
from runbooks.acceptance.findings import Findings
from runbooks.acceptance.first_reads import measure_first_reads
from runbooks.acceptance.tried_logins import IamCopy, LoginOutcome, try_login, try_tokens
from runbooks.acceptance.tried_on_original import Furnished
from runbooks.drills.rehearsal_copy import ask_for, remove_at_last

PATIENCE_S = 4 * 3600.0
LOGIN_WITHIN_S = 300.0
WINDOW_LOOKS = 5
OF_AN_ARGUMENT = frozenset({"InvalidParameterValue", "InvalidParameterCombination"})
# What becomes of a copy whose server does not start; "restore-error" has other reasons.
WITHOUT_ROOM = frozenset({"incompatible-parameters", "incompatible-restore", "failed"})


@dataclass
class StatusLog:
    """Every status that was seen, once each time it changed, with the seconds since the wait began."""

    tell: Callable[[str, float], None]
    seen: list[tuple[str, float]] = field(default_factory=list)

    def __call__(self, status: str, seconds: float) -> None:
        """Take one down."""
        self.tell(status, seconds)
        if not self.seen or self.seen[-1][0] != status:
            self.seen.append((status, seconds))

    def __str__(self) -> str:
        return ", ".join(f"{status} ({seconds:.0f} s)" for status, seconds in self.seen)


@dataclass(frozen=True)
class CopySite:
    """What copies are made of, where, and who writes down what is made."""

    instances: Instances
    original: InstanceFacts
    profile: Profile
    database: str
    run: str
    journal: RehearsalJournal
    findings: Findings
    tell: Callable[[str, float], None]

    def new_copy(self, purpose: str, target_time: datetime) -> Copy:
        """A copy of the run, to be recorded and asked for."""
        creation = CreationRequest(nonce=secrets.token_hex(16), requested_at=datetime.now(UTC), target_time=target_time)
        return Copy(case=f"{self.run}-{purpose}", source_resource_id=self.original.resource_id, creation=creation)

    def start(self, copy: Copy, settings: CopySettings) -> InstanceFacts:
        """Record it and ask for it. Raises what AWS's refusal stands for."""
        return ask_for(self.instances, self.original, copy, settings, self.journal)

    def start_or_settle(self, copy: Copy, settings: CopySettings, numbers: tuple[int, ...]) -> InstanceFacts | None:
        """The same; None where it is refused, which leaves the assumptions `numbers` unknown."""
        started: list[InstanceFacts] = []
        with self.findings.trying(*numbers):
            started.append(self.start(copy, settings))
        return next(iter(started), None)

    def remove(self, identifier: str, watch: Callable[[str, float], None]) -> bool:
        """Delete one of the run's copies and wait until it is gone; False where it was not to be seen at any look."""
        (copy,) = [each for each in self.journal.remaining if each.identifier == identifier]
        return remove_at_last(self.instances, copy, watch, self.journal)


def try_latest_second(site: CopySite, settings: CopySettings) -> None:
    """Settles 5. The end of the window may move on between the look and the call: then it is tried again."""
    with site.findings.trying(5):
        for number in range(WINDOW_LOOKS):
            latest = site.instances.window(site.original).latest
            try:
                facts = site.start(site.new_copy(f"latest{number}", latest), settings)
            except RowbackError as error:
                if not _refuses_the_time(error):
                    raise
                site.findings.settle(5, Answer.CONFIRMED, f"{error.fact} ({format_utc(latest)})")
                return
            moved_on = site.instances.window(site.original).latest != latest
            site.remove(facts.identifier, site.tell)
            if not moved_on:
                site.findings.settle(5, Answer.REFUTED, f"a restore to {format_utc(latest)} was accepted")
                return
        site.findings.settle(5, Answer.UNKNOWN, f"the window moved on at each of {WINDOW_LOOKS} looks")


def _refuses_the_time(error: RowbackError) -> bool:
    """Whether RDS finds fault with an argument, and not with what it would take to make the copy."""
    return isinstance(error.__cause__, ClientError) and code_of(error.__cause__) in OF_AN_ARGUMENT


def try_deletion_while_creating(site: CopySite, target_time: datetime, settings: CopySettings) -> None:
    """Settles 6."""
    with site.findings.trying(6):
        facts = site.start(site.new_copy("unborn", target_time), settings)
        log = StatusLog(site.tell)
        began = time.monotonic()
        deleted = site.remove(facts.identifier, log)
        seconds = time.monotonic() - began
        if deleted:
            site.findings.settle(6, Answer.CONFIRMED, f"gone after {seconds:.0f} s: {log}")
        else:
            site.findings.settle(6, Answer.UNKNOWN, f"not to be seen for {seconds:.0f} s after the call that made it")


def try_default_group(
    site: CopySite, facts: InstanceFacts, furnished: Furnished, contained: Containment | None
) -> None:
    """Whether a copy with RDS's own parameter group starts. Settles 3. `contained`: what the other copy showed."""
    with site.findings.trying(3):
        log = StatusLog(site.tell)
        had = [what for what, is_held in _obstacles(furnished).items() if is_held]
        other = f"with the original's group {contained or 'it was not logged in to'}"
        other += f"; the original had {', '.join(had) or 'nothing'}"
        try:
            site.instances.wait_ready(facts.identifier, deadline_s=PATIENCE_S, watch=log)
        except RowbackError as error:
            if error.id is not ErrorId.COPY_FAILED:
                raise
            status = _status(site, facts.identifier)
            seen = f"with the default group: {status}; {other}"
            if contained is None or not furnished.has_prepared or status not in WITHOUT_ROOM:
                site.findings.settle(3, Answer.UNKNOWN, seen)
            else:
                site.findings.judge(3, holds=contained.workers == 0, seen=seen)
            return
        seen = f"with the default group it starts: {log}; {other}"
        site.findings.settle(3, Answer.REFUTED if furnished.has_prepared else Answer.UNKNOWN, seen)


def _status(site: CopySite, identifier: str) -> str:
    instance = site.instances.find(identifier)
    return instance.status if instance else "gone"


@dataclass(frozen=True)
class Containment:
    """What a copy with the original's group showed at its first login."""

    enabled: int
    workers: int

    def __str__(self) -> str:
        return f"it starts, with {counted(self.enabled, 'enabled subscription')} and {counted(self.workers, 'worker')}"


def _obstacles(furnished: Furnished) -> dict[str, bool]:
    return {
        "a prepared transaction": furnished.has_prepared,
        "a logical slot": furnished.has_slot,
        "an enabled subscription": furnished.has_subscription,
    }


@dataclass(frozen=True)
class OpenCopy:
    """A copy that was logged in to. `way`: how, made anew each time."""

    facts: InstanceFacts
    way: Callable[[], Target]


def open_copy(site: CopySite, facts: InstanceFacts) -> OpenCopy:
    """Wait until it can be used, give it a password, log in. Settles 2 and 8. Raises copy-failed, and as logins do."""
    log = StatusLog(site.tell)
    with_endpoint = site.instances.wait_ready(facts.identifier, deadline_s=PATIENCE_S, watch=log)
    kind = with_endpoint.storage.kind
    seen = f"the original's is {site.original.storage.kind}, the copy's {kind}"
    if site.original.storage.kind == "gp3":
        site.findings.settle(8, Answer.UNKNOWN, seen)
    else:
        site.findings.judge(8, holds=kind == "gp3", seen=seen)
    password = site.instances.reset_password(facts.identifier, deadline_s=PATIENCE_S, watch=log)
    remember(password)
    began = time.monotonic()
    opened = OpenCopy(with_endpoint, lambda: target_on_copy(with_endpoint, site.database, password, site.profile))
    try:
        await_login([opened.way], deadline_s=LOGIN_WITHIN_S, pause_s=site.instances.poll_s)
    except RowbackError as error:
        if error.id is ErrorId.AUTHENTICATION_FAILED:
            site.findings.settle(2, Answer.REFUTED, f"{log}; then no login in {LOGIN_WITHIN_S:.0f} s: {error.fact}")
        raise
    site.findings.settle(2, Answer.CONFIRMED, f"{log}; login {time.monotonic() - began:.0f} s after the password")
    return opened


def try_inside(site: CopySite, opened: OpenCopy, furnished: Furnished) -> Containment:
    """What a login shows: settles 4, 7 and 9. Returns what it says of subscriptions."""
    with connect(opened.way()) as copy:
        workers = one(
            copy, "select count(*) from pg_stat_activity where backend_type like 'logical replication%worker'"
        )
        enabled = one(copy, "select count(*) from pg_subscription where subenabled")
        with site.findings.trying(7):
            _try_margin(copy, furnished, site.findings)
    if furnished.iam_user:
        try_tokens(furnished.iam_user, IamCopy(opened.facts, site.database, site.profile), site.findings)
    with site.findings.trying(9):
        measure_first_reads(opened.way, site.findings)
    return Containment(int(enabled), int(workers))


def _try_margin(copy: Session, furnished: Furnished, findings: Findings) -> None:
    begun, boundary = next_xid(copy) - furnished.next_xid, own_boundary(copy)
    exact = one(copy, "select timeline_id <> prev_timeline_id from pg_control_checkpoint()")
    seen = (
        f"{begun:,} transactions since T at the first login; its newest checkpoint is"
        f" {'that of the end of recovery' if exact else 'a later one'}, so it counts rows from {boundary:,} on as its"
        f" own; the original was at {furnished.next_xid:,}"
    )
    findings.judge(7, holds=0 <= begun < BURNED_AT_MOST, seen=seen)


def try_backups(site: CopySite, opened: OpenCopy) -> None:
    """Settles 10."""
    with site.findings.trying(10):
        log, identifier = StatusLog(site.tell), opened.facts.identifier
        site.instances.keep_backups(identifier, days=1, deadline_s=PATIENCE_S, watch=log)
        began, used_after_s = time.monotonic(), None
        while (waited := time.monotonic() - began) < PATIENCE_S:
            facts = site.instances.get(identifier)
            log(facts.status, waited)
            if facts.status == "backing-up" and used_after_s is None and try_login(opened.way) is LoginOutcome.LET_IN:
                used_after_s = waited
            if window_or_none(site.instances, facts):
                use = "not tried" if used_after_s is None else f"let in after {used_after_s:.0f} s"
                seen = f"{log}; restorable after {waited:.0f} s; a login during its first backup: {use}"
                site.findings.settle(10, Answer.CONFIRMED, seen)
                return
            time.sleep(site.instances.poll_s)
        site.findings.settle(10, Answer.REFUTED, f"{log}; no backup within {PATIENCE_S / 3600:.0f} h")


def window_or_none(instances: Instances, instance: InstanceFacts) -> RestoreWindow | None:
    """None while there is no backup of it yet."""
    try:
        return instances.window(instance)
    except RowbackError as error:
        if error.id is not ErrorId.BACKUPS_OFF:
            raise
        return None
