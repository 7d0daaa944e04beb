"""A whole recovery with the printed policy alone, and doctor's look at the same permissions."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from recovery.aws.aws_profile import as_aws_profile
from recovery.aws.caller_identity import caller
from recovery.aws.clients import client, translated
from recovery.aws.instances import Instances
from recovery.aws.permissions import Place, statements
from recovery.aws.simulate_permissions import missing, principal_arn
from recovery.compare.scope import ScopeRequest
from recovery.errors import ErrorId, RowbackError
from recovery.model.recovery_plan import Transport
from recovery.model.recovery_report import Objectives
from recovery.planning.check_request import Request
from recovery.planning.original_login import target_on_original
from recovery.postgres.connect import connect
from runbooks.acceptance.assumptions import Answer
from runbooks.acceptance.findings import Findings
from runbooks.acceptance.own_original import Original
from runbooks.acceptance.tried_on_original import Furnished
from runbooks.drills.drill_measures import PhaseClock, digests
from runbooks.drills.rehearsed_recovery import libpq_password, recover

NO_CREDENTIALS = "no credentials that have the printed policy alone were named (--policy-profile)"
MORE = "the credentials of --policy-profile may do more than is printed"
UNNAMED = "describe_db_parameter_groups", "DescribeDBParameterGroups"
PATIENCE_S = 3600.0


@dataclass(frozen=True)
class RecoveryTrial:
    """What is put back where. `policy_profile`: whose credentials do it; None: those of everything else."""

    original: Original
    database: str
    furnished: Furnished
    policy_profile: str | None


def try_recovery(trial: RecoveryTrial, findings: Findings, clock: PhaseClock) -> None:
    """Put back what was deleted after T. Settles 1 and 11.

    Without `policy_profile` it is done all the same: that the rows come back is worth knowing.
    """
    with as_aws_profile(trial.policy_profile) if trial.policy_profile else contextlib.nullcontext():
        with findings.trying(1):
            _try_policy(trial, findings, clock)
        with findings.trying(11):
            _try_simulation(trial, findings)


def _try_policy(trial: RecoveryTrial, findings: Findings, clock: PhaseClock) -> None:
    rows = _recovered(trial, findings, clock)
    if rows is None:
        return
    if rows != trial.furnished.lost:
        seen = f"{rows[0]:,} rows came back of {trial.furnished.lost[0]:,}, or they differ"
        findings.settle(1, Answer.REFUTED, seen)
    elif trial.policy_profile is None:
        findings.settle(1, Answer.UNKNOWN, f"all {rows[0]:,} rows came back, but {NO_CREDENTIALS}")
    elif _may_do_more(trial):
        findings.settle(1, Answer.UNKNOWN, f"all {rows[0]:,} rows came back, but {MORE}")
    else:
        findings.settle(1, Answer.CONFIRMED, f"all {rows[0]:,} rows came back, by a digest of each")


def _may_do_more(trial: RecoveryTrial) -> bool:
    """Whether a call that the printed policy does not name is allowed: then it was not the policy that sufficed."""
    name = f"rds:{UNNAMED[1]}"
    try:
        with translated(name):
            getattr(client("rds", region=trial.original.facts.region), UNNAMED[0])()
    except RowbackError as error:
        if error.id is ErrorId.IAM_MISSING:
            return False
        raise
    return True


def _recovered(trial: RecoveryTrial, findings: Findings, clock: PhaseClock) -> tuple[int, str] | None:
    """None where the policy does not allow what is needed, which refutes it."""
    try:
        return _recover(trial, clock)
    except RowbackError as error:
        if error.id is not ErrorId.IAM_MISSING or trial.policy_profile is None:
            raise
        findings.settle(1, Answer.REFUTED, "; ".join([error.fact, *error.facts]))
        return None


def _recover(trial: RecoveryTrial, clock: PhaseClock) -> tuple[int, str]:
    """Count and digest of the damaged table afterwards. Raises what a recovery raises."""
    original = trial.original
    request = Request(
        instance=original.facts.identifier,
        database=trial.database,
        target_time=trial.furnished.target_time,
        scope=ScopeRequest(tables=("public.lost",)),
        transport=Transport.COPY,
        profile=original.profile,
        wait_for_window_s=PATIENCE_S,
        copy_parameter_group=original.facts.parameter_group,
    )
    with libpq_password(original.password) if original.password else contextlib.nullcontext():
        instances = Instances.connect(original.profile.region)
        report = recover(request, Objectives(), instances, clock)
        with connect(target_on_original(original.facts, trial.database, original.profile)) as session:
            count, digest = digests(session)["public.lost"]
    return (count, digest) if report.outcome == "recovered" else (0, "")


def _try_simulation(trial: RecoveryTrial, findings: Findings) -> None:
    original, region = trial.original, trial.original.facts.region
    place = Place.of(original.facts)
    profile = original.profile.model_copy(update={"copy_parameter_group": original.facts.parameter_group})
    arn = caller(region)
    principal = principal_arn(arn, region)
    denied = missing(statements(place, profile), principal, region)
    seen = f"{principal} was simulated; denied: {', '.join(sorted(denied)) or 'nothing'}"
    if principal == arn or "role/" not in principal:
        findings.settle(11, Answer.UNKNOWN, f"these credentials are no role's: {seen}")
    elif principal.partition("role/")[2].count("/") == 0:
        findings.settle(11, Answer.UNKNOWN, f"the role has no path: {seen}")
    else:  # what it says has to agree with what happened
        sufficed = findings.by_number[1].answer is not Answer.REFUTED
        findings.judge(11, holds=sufficed == (not denied), seen=seen)
