"""Evidence in, verdict out: is this database proven disposable? Unknown is refused. A host name proves nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from guards.evidence import Evidence
from guards.policy import Policy

YOUNG = timedelta(hours=1)


@dataclass(frozen=True)
class Verdict:
    """`proofs` speak for, `vetoes` against; `missing` says what would be enough. `said`: somebody said so of this very
    database, by a mark or an allowance."""

    disposable: bool
    proofs: tuple[str, ...]
    vetoes: tuple[str, ...]
    missing: tuple[str, ...]
    said: bool = False


def judge(evidence: Evidence, policy: Policy, now: datetime) -> Verdict:
    """A protection refuses. An allowance or a mark decides next. Then a single veto refuses, and the proofs must be
    enough."""
    marker = evidence.comment_marker
    objections = marker.objections(evidence.identity, now) if marker else []
    protected = marker is not None and not objections and marker.state == "protected"
    allowance = next((a for a in policy.allowances if a.covers(evidence.identity, now)), None)
    if allowance and not protected:
        return Verdict(disposable=True, proofs=(str(allowance),), vetoes=(), missing=(), said=True)
    if marker and not objections:
        return _marked(marker.state, f"marked {marker.state} by {marker.by}: {marker.reason}", marker.until)
    proofs, vetoes = tuple(_proofs(evidence, policy, now)), tuple(_vetoes(evidence, policy))
    enough = _enough(evidence, policy, now) and not vetoes
    missing = () if enough else (*objections, *_missing(evidence, policy, now), "no mark of its owner")
    return Verdict(enough, proofs, vetoes, missing)


def _marked(state: str, told: str, until: str | None) -> Verdict:
    if state == "disposable":
        return Verdict(disposable=True, proofs=(f"{told}, until {until}",), vetoes=(), missing=(), said=True)
    return Verdict(disposable=False, proofs=(), vetoes=(told,), missing=(), said=True)


def _enough(evidence: Evidence, policy: Policy, now: datetime) -> bool:
    if policy.strictness == "dev":
        return evidence.here is not None and _young(evidence, now)
    spoken_for = (evidence.here, _of_this_job(evidence, policy), evidence.fsync_off, evidence.next_door)
    return sum(map(bool, spoken_for)) >= 2


def _young(evidence: Evidence, now: datetime) -> bool:
    return timedelta(0) <= now - evidence.born_at <= YOUNG


def _of_this_job(evidence: Evidence, policy: Policy) -> bool:
    return policy.job_began_at is not None and evidence.born_at >= policy.job_began_at


def _proofs(evidence: Evidence, policy: Policy, now: datetime) -> Iterator[str]:
    if evidence.here:
        yield f"it runs on this machine: {evidence.here}"
    if _young(evidence, now):
        yield f"its cluster is {int((now - evidence.born_at).total_seconds()):,} s old"
    if _of_this_job(evidence, policy):
        yield f"its cluster was made after this job began ({evidence.born_at:%Y-%m-%dT%H:%M:%SZ})"
    if evidence.next_door:
        yield f"it is a container next door, on {evidence.next_door}"
    if evidence.fsync_off:
        yield "it runs without fsync, as nobody keeps data he needs"


def _vetoes(evidence: Evidence, policy: Policy) -> Iterator[str]:
    # A local Supabase or Neon stack carries the roles of the hosted one.
    services = [s for s in evidence.managed if not (evidence.here and s in ("Supabase", "Neon"))]
    spoken = {
        f"it is managed: {', '.join(services)}": services,
        f"its certificate names {evidence.certified}": evidence.certified,
        f"it is the application's own database: {evidence.application}": evidence.application,
        "it bears a mark that this version of rowback cannot read": evidence.unreadable_mark,
        "it is a standby of another server": evidence.standby,
        f"{evidence.replicas} replicas follow it": evidence.replicas,
        "its WAL is archived: somebody wants to be able to restore it": evidence.archiving,
        f"it holds {evidence.size_bytes / 2**30:,.1f} GiB": evidence.size_bytes > policy.largest_bytes,
        f"{evidence.foreign_sessions} sessions of others are in it": evidence.foreign_sessions,
    }
    return (veto for veto, so in spoken.items() if so)


def _missing(evidence: Evidence, policy: Policy, now: datetime) -> Iterator[str]:
    if evidence.here is None:
        yield "no proof that it runs on this machine: no backend here serves our connection"
    if policy.strictness == "dev" and not _young(evidence, now):
        yield f"its cluster was made at {evidence.born_at:%Y-%m-%dT%H:%M:%SZ}, more than an hour ago"
    if policy.strictness == "ci" and not _of_this_job(evidence, policy):
        yield f"its cluster was made at {evidence.born_at:%Y-%m-%dT%H:%M:%SZ}, not after this job began"
