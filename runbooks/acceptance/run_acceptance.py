"""The run: one original, up to four copies of it, every assumption tried, everything removed."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from recovery import __version__
from recovery.aws.instances import Instances
from recovery.errors import ErrorId, RowbackError
from recovery.model.instance import CopySettings
from recovery.model.outlook import Price
from recovery.planning.copy_surroundings import copy_settings
from recovery.planning.original_login import target_on_original
from recovery.postgres.connect import connect
from recovery.store.rehearsal_journal import RehearsalJournal
from recovery.workflow.recovery_run import Listener
from runbooks.acceptance.acceptance_request import (
    DATABASE,
    HOURS_AT_MOST,
    ORIGINAL_CASE,
    AcceptanceRequest,
    refuse_indispensable,
)
from runbooks.acceptance.findings import AcceptanceResult, Findings
from runbooks.acceptance.own_original import Original, make_original, own_parameter_group, undisturbed
from runbooks.acceptance.tried_on_copies import (
    CopySite,
    open_copy,
    try_backups,
    try_default_group,
    try_deletion_while_creating,
    try_inside,
    try_latest_second,
)
from runbooks.acceptance.tried_on_original import Furnished, cleared_away, furnish, own_database
from runbooks.acceptance.tried_recovery import RecoveryTrial, try_recovery
from runbooks.drills.drill_measures import PhaseClock
from runbooks.drills.rehearsal_copy import removing
from runbooks.drills.rehearsed_recovery import libpq_password

WINDOW_WITHIN_S = 3600.0
OF_OUR_COPY = (2, 4, 7, 8, 9, 10)


def accept(request: AcceptanceRequest, price: Price, listener: Listener) -> AcceptanceResult:
    """Try every assumption and remove what was made for it, whatever happens.

    `price`: of one instance, as it was looked up. An assumption that cannot be tried is unknown, with the reason.
    Raises case-open while another run of this machine has not removed what it made, and what creating refuses.
    """
    began, clock, findings = time.monotonic(), PhaseClock(listener), Findings()
    instances = Instances.connect(request.profile.region)
    run = f"{ORIGINAL_CASE}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    listed = price.source.startswith("AWS's price list")
    findings.judge(12, holds=listed, seen=f"${price.usd_per_hour} an hour, storage included, from {price.source}")
    with RehearsalJournal.begin(ORIGINAL_CASE) as journal, _original(request, instances, journal, clock) as original:
        _try_all(request, _site(instances, original, run, (journal, findings, listener)), original, clock)
    return AcceptanceResult(
        run=run,
        at=datetime.now(UTC),
        region=instances.region,
        postgres=original.facts.engine_version,
        instance_class=original.facts.instance_class,
        tool_version=__version__,
        seconds=round(time.monotonic() - began, 1),
        findings=findings.complete(),
    )


@contextlib.contextmanager
def _original(
    request: AcceptanceRequest, instances: Instances, journal: RehearsalJournal, clock: PhaseClock
) -> Iterator[Original]:
    """The one that is made, or the named one. In the end what was made is gone: copies, the original, its group."""
    if request.instance:
        facts = instances.get(request.instance)
        refuse_indispensable(facts)
        beside = target_on_original(facts, request.profile.database or "postgres", request.profile)
        with connect(beside) as admin, own_database(admin, DATABASE), removing(instances, journal, clock):
            yield Original(facts, undisturbed(request.profile), None)
        return
    with own_parameter_group(instances), removing(instances, journal, clock):
        with clock.phase("original", "make an instance to lose rows of"):
            original = make_original(instances, request.ground, request.profile, journal, clock.listener)
        assert original.password
        with libpq_password(original.password):
            yield original


def _site(
    instances: Instances, original: Original, run: str, witnesses: tuple[RehearsalJournal, Findings, Listener]
) -> CopySite:
    journal, findings, listener = witnesses
    return CopySite(
        instances=instances,
        original=original.facts,
        profile=original.profile,
        database=DATABASE,
        run=run,
        journal=journal,
        findings=findings,
        tell=listener.progress,
    )


def _try_all(request: AcceptanceRequest, site: CopySite, original: Original, clock: PhaseClock) -> None:
    target = target_on_original(original.facts, DATABASE, original.profile)
    with connect(target) as session, cleared_away(session) if request.instance else contextlib.nullcontext():
        with clock.phase("furnish", "fill it, lose rows"):
            furnished = furnish(session, request.data_mib, site.findings)
        with clock.phase("window", "wait until it can be restored to that moment"):
            _await_window(site, furnished.target_time)
        own = copy_settings(site.original, site.profile, parameter_group=original.facts.parameter_group)
        own = own.model_copy(update={"expires_after_hours": HOURS_AT_MOST, "iam_authentication": True})
        with clock.phase("second", "try to restore its latest second"):
            try_latest_second(site, own)
        _try_copies(site, furnished, own, clock)
        try_recovery(RecoveryTrial(original, furnished, request.policy_profile), site.findings, clock)


def _try_copies(site: CopySite, furnished: Furnished, own: CopySettings, clock: PhaseClock) -> None:
    """Both copies are restored at the same time; the third is deleted at once."""
    default, target = own.model_copy(update={"parameter_group": None}), furnished.target_time
    with clock.phase("copies", "restore copies of it, and delete one at once"):
        ours = site.start_or_settle(site.new_copy("group", target), own, OF_OUR_COPY)
        by_default = site.start_or_settle(site.new_copy("default", target), default, (3,))
        try_deletion_while_creating(site, target, own)
    contained = "with the original's group it was not logged in to"
    if ours:
        with clock.phase("inside", "wait for the first copy and look into it"), site.findings.trying(*OF_OUR_COPY):
            opened = open_copy(site, ours)
            contained = try_inside(site, opened, furnished)
            try_backups(site, opened)
    if by_default:
        with clock.phase("default", "see what becomes of the copy with RDS's default parameter group"):
            try_default_group(site, by_default, furnished, contained)


def _await_window(site: CopySite, target: datetime) -> None:
    began = time.monotonic()
    while site.instances.window(site.original).latest <= target:
        if (waited := time.monotonic() - began) > WINDOW_WITHIN_S:
            raise RowbackError(
                ErrorId.TARGET_AFTER_WINDOW,
                f"'{site.original.identifier}' cannot be restored to {target:%H:%M:%SZ} yet, after {waited:.0f} s",
                state="what was made is removed",
                help="run it again, and look at the instance's backups",
            )
        site.tell("the restore window is not there yet", waited)
        time.sleep(site.instances.poll_s)
