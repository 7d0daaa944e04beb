"""Evidence in, verdict out: is this database proven disposable? Unknown is refused. A host name proves nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from guards.evidence import Evidence

Strictness = Literal["ci", "dev"]
YOUNG = timedelta(hours=1)
LARGEST_BYTES = 10 * 2**30


@dataclass(frozen=True)
class Policy:
    """`ci`: a server that came up with the job proves itself. `dev`: it must be here, and marked or an hour old at
    most, for the one database on a developer's machine is often the one that must not be lost (facts/guards.md §2).

    `job_began_at`: when the machine, the container or the job came up; None where it is not known.
    """

    strictness: Strictness = "dev"
    job_began_at: datetime | None = None
    largest_bytes: int = LARGEST_BYTES


@dataclass(frozen=True)
class Verdict:
    """`proofs` speak for, `vetoes` against; `missing` says what would be enough."""

    disposable: bool
    proofs: tuple[str, ...]
    vetoes: tuple[str, ...]
    missing: tuple[str, ...]


def judge(evidence: Evidence, policy: Policy, now: datetime) -> Verdict:
    """A valid mark decides, whatever it says. Without one a single veto refuses; then the proofs must be enough."""
    marker = evidence.comment_marker
    objections = marker.objections(evidence.identity, now) if marker else []
    if marker and not objections:
        return _marked(marker.state, f"marked {marker.state} by {marker.by}: {marker.reason}", marker.until)
    proofs, vetoes = tuple(_proofs(evidence, policy, now)), tuple(_vetoes(evidence, policy))
    enough = _enough(evidence, policy, now) and not vetoes
    missing = () if enough else (*objections, *_missing(evidence, policy, now), "no mark of its owner")
    return Verdict(enough, proofs, vetoes, missing)


def _marked(state: str, told: str, until: str | None) -> Verdict:
    if state == "disposable":
        return Verdict(disposable=True, proofs=(f"{told}, until {until}",), vetoes=(), missing=())
    return Verdict(disposable=False, proofs=(), vetoes=(told,), missing=())


def _enough(evidence: Evidence, policy: Policy, now: datetime) -> bool:
    if policy.strictness == "dev":
        return evidence.here is not None and _young(evidence, now)
    return sum((evidence.here is not None, _of_this_job(evidence, policy), evidence.fsync_off)) >= 2


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
    if evidence.fsync_off:
        yield "it runs without fsync, as nobody keeps data he needs"


def _vetoes(evidence: Evidence, policy: Policy) -> Iterator[str]:
    # A local Supabase or Neon stack carries the roles of the hosted one.
    services = [s for s in evidence.managed if not (evidence.here and s in ("Supabase", "Neon"))]
    if services:
        yield f"it is managed: {', '.join(services)}"
    if evidence.unreadable_mark:
        yield "it bears a mark that this version of rowback cannot read"
    if evidence.standby:
        yield "it is a standby of another server"
    if evidence.replicas:
        yield f"{evidence.replicas} replicas follow it"
    if evidence.archiving:
        yield "its WAL is archived: somebody wants to be able to restore it"
    if evidence.size_bytes > policy.largest_bytes:
        yield f"it holds {evidence.size_bytes / 2**30:,.1f} GiB"
    if evidence.foreign_sessions:
        yield f"{evidence.foreign_sessions} sessions of others are in it"


def _missing(evidence: Evidence, policy: Policy, now: datetime) -> Iterator[str]:
    if evidence.here is None:
        yield "no proof that it runs on this machine: no backend here serves our connection"
    if policy.strictness == "dev" and not _young(evidence, now):
        yield f"its cluster was made at {evidence.born_at:%Y-%m-%dT%H:%M:%SZ}, more than an hour ago"
    if policy.strictness == "ci" and not _of_this_job(evidence, policy):
        yield f"its cluster was made at {evidence.born_at:%Y-%m-%dT%H:%M:%SZ}, not after this job began"
