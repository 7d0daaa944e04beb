"""Evidence in, verdict out: is this database proven disposable? Unknown is refused. A host name proves nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from guards.policy import Policy
from guards.server_evidence import Evidence

YOUNG = timedelta(hours=1)
# No job whose tests want a throw-away server runs for longer; a runner, a container or a notebook may.
LONGEST_JOB = timedelta(hours=6)
_CLOCKS_DIFFER = timedelta(seconds=5)


@dataclass(frozen=True)
class Verdict:
    """`proofs` speak for, `vetoes` against; `missing` says what would be enough.

    `by_owner`: it was stated of this very database, by a mark or an allowance; it says nothing of the rest of its
    server.
    """

    disposable: bool
    proofs: tuple[str, ...]
    vetoes: tuple[str, ...]
    missing: tuple[str, ...]
    by_owner: bool = False


def judge(evidence: Evidence, policy: Policy, now: datetime) -> Verdict:
    """A protection refuses.

    An allowance or a mark decides next. Then a single veto refuses, and the proofs must be enough. `evidence`: with its
    location; `now`: this machine's time, by which allowances run out.
    """
    return judge_by_mark(evidence, policy, now) or judge_by_evidence(evidence, policy)


def judge_by_evidence(evidence: Evidence, policy: Policy) -> Verdict:
    """The verdict of what is seen, whatever anybody said: it holds for all of the server."""
    proofs, vetoes = tuple(_proofs(evidence, policy)), tuple(_vetoes(evidence, policy))
    enough = _enough(evidence, policy) and not vetoes
    objections = _objections(evidence)
    missing = () if enough else (*objections, *_missing(evidence, policy), "no mark of its owner")
    return Verdict(enough, proofs, vetoes, missing)


def judge_by_mark(evidence: Evidence, policy: Policy, now: datetime) -> Verdict | None:
    """The verdict where a valid mark or an allowance gives it, whatever the location; None where none does."""
    marker = evidence.comment_marker
    valid = marker is not None and not _objections(evidence)
    protected = marker is not None and valid and marker.state == "protected"
    allowance = next((a for a in policy.allowances if a.covers(evidence.identity, now)), None)
    if allowance and not protected:
        return Verdict(disposable=True, proofs=(str(allowance),), vetoes=(), missing=(), by_owner=True)
    if marker and valid:
        return _marked(marker.state, f"marked {marker.state} by {marker.by}: {marker.reason}", marker.until)
    named = next((n for n in policy.named if evidence.on_this_kernel and n.covers(evidence.identity, now)), None)
    if named and not evidence.unreadable_mark:
        return Verdict(disposable=True, proofs=(str(named),), vetoes=(), missing=(), by_owner=True)
    return None


def _objections(evidence: Evidence) -> list[str]:
    marker = evidence.comment_marker
    return marker.objections(evidence.identity, evidence.at) if marker else []


def _marked(state: str, reason: str, until: str | None) -> Verdict:
    if state == "disposable":
        return Verdict(disposable=True, proofs=(f"{reason}, until {until}",), vetoes=(), missing=(), by_owner=True)
    return Verdict(disposable=False, proofs=(), vetoes=(reason,), missing=(), by_owner=True)


def _enough(evidence: Evidence, policy: Policy) -> bool:
    """Whether the proofs suffice. Here and next door prove the same fact, and count once."""
    near = bool(evidence.on_this_kernel or evidence.next_door)
    if policy.strictness == "dev":
        return near and _young(evidence, policy)
    return sum((near, _of_this_job(evidence, policy), evidence.fsync_off)) >= 2


def _young(evidence: Evidence, policy: Policy) -> bool:
    """An hour old at most when the run began: what was proven then holds until it ends."""
    return _run_began(evidence, policy) - YOUNG <= evidence.born_at <= evidence.at + _CLOCKS_DIFFER


def _of_this_job(evidence: Evidence, policy: Policy) -> bool:
    began = policy.job_began_at
    if began is None or evidence.born_at < began:
        return False
    return _run_began(evidence, policy) - LONGEST_JOB <= evidence.born_at <= evidence.at + _CLOCKS_DIFFER


def _run_began(evidence: Evidence, policy: Policy) -> datetime:
    began = min(policy.run_began_at or evidence.at, evidence.at)
    return max(began, evidence.at - LONGEST_JOB)


def _is_new(evidence: Evidence, policy: Policy) -> bool:
    return _young(evidence, policy) if policy.strictness == "dev" else _of_this_job(evidence, policy)


def _proofs(evidence: Evidence, policy: Policy) -> Iterator[str]:
    if evidence.on_this_kernel:
        yield f"it runs on this machine: {evidence.on_this_kernel}"
    if _young(evidence, policy):
        yield f"its cluster is {max(0, int((evidence.at - evidence.born_at).total_seconds())):,} s old"
    if _of_this_job(evidence, policy):
        yield f"its cluster was made after this job began ({evidence.born_at:%Y-%m-%dT%H:%M:%SZ})"
    if evidence.next_door:
        yield f"it is a container next door, on {evidence.next_door}"
    if evidence.fsync_off:
        yield "it runs without fsync, as nobody keeps data he needs"


def _vetoes(evidence: Evidence, policy: Policy) -> Iterator[str]:
    # A local Supabase or Neon stack carries the roles of the hosted one.
    near = evidence.on_this_kernel or evidence.next_door
    services = [s for s in evidence.managed if not (near and s in ("Supabase", "Neon"))]
    # A new server here is that of a test run with all its parts: two roles, an application's container, a subscriber.
    others = evidence.from_afar or not (near and _is_new(evidence, policy))
    sessions, replicas = (evidence.foreign_sessions, evidence.replicas) if others else (0, 0)
    spoken = {
        f"it is managed: {', '.join(services)}": services,
        f"its certificate names {evidence.certified}": evidence.certified,
        f"it is the application's own database: {evidence.application}": evidence.application,
        "it bears a mark that this version of rowback cannot read": evidence.unreadable_mark,
        "it is a standby of another server": evidence.standby,
        f"{replicas} {'replica follows' if replicas == 1 else 'replicas follow'} it": replicas,
        "its WAL is archived: it is meant to be restorable": evidence.archiving,
        f"it holds {evidence.size_bytes / 2**30:,.1f} GiB": evidence.size_bytes > policy.largest_bytes,
        f"{sessions} {'session' if sessions == 1 else 'sessions'} of others"
        f" {'is' if sessions == 1 else 'are'} in it": sessions,
    }
    return (veto for veto, so in spoken.items() if so)


def _missing(evidence: Evidence, policy: Policy) -> Iterator[str]:
    if evidence.on_this_kernel is None and evidence.next_door is None:
        yield "no proof that it runs on this machine: no backend here serves our connection"
    born = f"its cluster was made at {evidence.born_at:%Y-%m-%dT%H:%M:%SZ}"
    if policy.strictness == "dev" and not _young(evidence, policy):
        yield f"{born}, more than an hour before this run began"
    if policy.strictness == "ci" and not _of_this_job(evidence, policy):
        early = policy.job_began_at is None or evidence.born_at < policy.job_began_at
        yield f"{born}, {'not after this job began' if early else 'more than six hours before this run began'}"
