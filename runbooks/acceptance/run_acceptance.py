"""The run: one original, up to four copies of it, every assumption tried, everything removed."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from recovery import __version__
from recovery.aws.instances import Instances
from recovery.errors import ErrorId, RowbackError
from recovery.model.instance import CopySettings, InstanceFacts
from recovery.planning.copy_surroundings import NO_WORKERS, copy_settings
from recovery.planning.original_login import target_on_original
from recovery.postgres.connect import connect
from recovery.postgres.connection_target import Target
from recovery.store.rehearsal_journal import RehearsalJournal
from recovery.workflow.case_lifecycle import terminate_like_interrupt
from recovery.workflow.recovery_run import Listener
from runbooks.acceptance.acceptance_request import (
    HOURS_AT_MOST,
    ORIGINAL_CASE,
    AcceptanceRequest,
    RunCost,
    refuse_indispensable,
)
from runbooks.acceptance.findings import AcceptanceResult, Findings, keep
from runbooks.acceptance.own_original import Original, make_original, undisturbed
from runbooks.acceptance.parameter_group import own_parameter_group
from runbooks.acceptance.tried_on_copies import (
    CopySite,
    open_copy,
    try_backups,
    try_default_group,
    try_deletion_while_creating,
    try_inside,
    try_latest_second,
    window_or_none,
)
from runbooks.acceptance.tried_on_original import Furnished, Furnishing, RunNames, furnish, own_database
from runbooks.acceptance.tried_recovery import RecoveryTrial, try_recovery
from runbooks.drills.drill_measures import PhaseClock
from runbooks.drills.rehearsal_copy import removing
from runbooks.drills.rehearsed_recovery import libpq_password

WINDOW_WITHIN_S = 3600.0
OF_OUR_COPY = (2, 4, 7, 8, 9, 10)


@dataclass(frozen=True)
class Journey:
    """One run: what it is called here and in a server, what it writes down, and who watches."""

    name: str
    names: RunNames
    journal: RehearsalJournal
    findings: Findings
    clock: PhaseClock


def accept(request: AcceptanceRequest, cost: RunCost, instances: Instances, listener: Listener) -> Path:
    """Try every assumption and remove what was made for it, whatever happens. Returns the file of the result.

    An assumption that cannot be tried is unknown, with the reason; what was seen is kept where the run ends in an error
    too. Raises case-open while another run has not removed what it made, and what creating refuses.
    """
    began, suffix, findings = datetime.now(UTC), secrets.token_hex(2), Findings()
    run = f"{ORIGINAL_CASE}-{began:%Y%m%d-%H%M%S}-{suffix}"
    seen = f"${cost.hourly_usd:.3f} an hour, storage included, from {cost.source}"
    findings.judge(12, holds=cost.source.startswith("AWS's price list"), seen=seen)
    originals: list[InstanceFacts] = []
    with terminate_like_interrupt(), RehearsalJournal.begin(ORIGINAL_CASE) as journal:
        journey = Journey(run, RunNames(f"rowback_acceptance_{suffix}"), journal, findings, PhaseClock(listener))
        try:
            with _original(request, instances, journey) as original:
                originals.append(original.facts)
                _try_all(request, instances, original, journey)
        finally:
            file = keep(_result(journey, began, instances.region, originals))
    return file


def _result(journey: Journey, began: datetime, region: str, originals: Sequence[InstanceFacts]) -> AcceptanceResult:
    now = datetime.now(UTC)
    return AcceptanceResult(
        run=journey.name,
        at=now,
        region=region,
        postgres=originals[0].engine_version if originals else "none",
        instance_class=originals[0].instance_class if originals else "none",
        tool_version=__version__,
        seconds=round((now - began).total_seconds(), 1),
        findings=journey.findings.complete(),
    )


@contextlib.contextmanager
def _original(request: AcceptanceRequest, instances: Instances, journey: Journey) -> Iterator[Original]:
    """The one that is made, or the named one. In the end what was made is gone: copies, the original, its group."""
    journal, clock = journey.journal, journey.clock
    if request.instance:
        facts, profile = instances.get(request.instance), undisturbed(request.profile)
        refuse_indispensable(facts)
        instances.window(facts)  # raises where nothing of it could be restored

        def way(database: str) -> Target:
            return target_on_original(facts, database, profile)

        with own_database(way, profile.database or "postgres", journey.names), removing(instances, journal, clock):
            yield Original(facts, profile, None)
        return
    with own_parameter_group(instances, journal, clock.listener), removing(instances, journal, clock):
        with clock.phase("original", "make an instance to lose rows of"):
            original = make_original(instances, request, journey.names.name, journal, clock.listener)
        assert original.password
        with libpq_password(original.password):
            yield original


def _try_all(request: AcceptanceRequest, instances: Instances, original: Original, journey: Journey) -> None:
    facts, profile, clock, database = original.facts, original.profile, journey.clock, journey.names.name
    site = CopySite(
        instances, facts, profile, database, journey.name, journey.journal, journey.findings, clock.listener.progress
    )
    group = facts.parameter_group
    contained = group is not None and instances.parameter(group, NO_WORKERS) == "0"
    furnishing = Furnishing(journey.names, request.data_mib, subscribes=contained)
    with clock.phase("furnish", "fill it, lose rows"), connect(target_on_original(facts, database, profile)) as session:
        furnished = furnish(session, furnishing, journey.findings)
    with clock.phase("window", "wait until it can be restored to that moment"):
        _await_window(site, furnished.target_time)
    own = copy_settings(facts, profile, parameter_group=group)
    own = own.model_copy(update={"expires_after_hours": HOURS_AT_MOST, "iam_authentication": True})
    with clock.phase("second", "try to restore its latest second"):
        try_latest_second(site, own)
    _try_copies(site, furnished, own, clock)
    try_recovery(RecoveryTrial(original, database, furnished, request.policy_profile), journey.findings, clock)


def _try_copies(site: CopySite, furnished: Furnished, own: CopySettings, clock: PhaseClock) -> None:
    """Both copies are restored at the same time; the third is deleted at once."""
    default, target = own.model_copy(update={"parameter_group": None}), furnished.target_time
    with clock.phase("copies", "restore copies of it, and delete one at once"):
        ours = site.start_or_settle(site.new_copy("group", target), own, OF_OUR_COPY)
        by_default = site.start_or_settle(site.new_copy("default", target), default, (3,))
        try_deletion_while_creating(site, target, own)
    contained = None
    if ours:
        with clock.phase("inside", "wait for the first copy and look into it"), site.findings.trying(*OF_OUR_COPY):
            opened = open_copy(site, ours)
            contained = try_inside(site, opened, furnished)
            try_backups(site, opened)
    if by_default:
        with clock.phase("default", "see what becomes of the copy with RDS's default parameter group"):
            try_default_group(site, by_default, furnished, contained)


def _await_window(site: CopySite, target: datetime) -> None:
    """Its first backup may still be made."""
    began = time.monotonic()
    while not _reaches(site, target):
        if (waited := time.monotonic() - began) > WINDOW_WITHIN_S:
            raise RowbackError(
                ErrorId.TARGET_AFTER_WINDOW,
                f"'{site.original.identifier}' cannot be restored to {target:%H:%M:%SZ} yet, after {waited:.0f} s",
                state="what was made is removed",
                help="run it again, and look at the instance's backups",
            )
        site.tell("the restore window is not there yet", waited)
        time.sleep(site.instances.poll_s)


def _reaches(site: CopySite, target: datetime) -> bool:
    window = window_or_none(site.instances, site.original)
    return window is not None and target < window.latest
