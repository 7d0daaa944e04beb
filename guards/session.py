"""The guard of this process: what it knows of each database, and what it refused."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from guards.certificate import certified
from guards.children import report_refusal
from guards.evidence import Evidence, Link, evidence_of
from guards.identity import ServerIdentity
from guards.policy import Policy
from guards.same_kernel import Backend, backend_here, peer_of
from guards.statements import Danger, Finding, classify
from guards.telling import Known, refusal_text
from guards.verdict import Verdict, judge

# What an unproven session is given before anybody else's first statement. The server then refuses what no parser sees:
# functions, rules, other code on the same connection. A short lock_timeout: nobody waits in front of real users.
READ_ONLY = "set default_transaction_read_only = on; set lock_timeout = '5s'"

RECOGNISED_FOR_S = 30.0

Ask = Callable[[Sequence[Finding]], str | None]


class Refused(BaseException):
    """A statement was not sent. No Exception: a clean-up that catches those must not swallow it."""


@dataclass
class Guard:
    """State of the process. `refusals` are kept so that a run fails at its end even if somebody swallowed one.

    `same_as_application`: of the databases that the policy calls the application's, the one that an identity is;
    asked once, and only when a database would pass. `fixture`: the pytest fixture that is being set up.
    """

    policy: Policy
    refusals: list[str] = field(default_factory=list)
    met: dict[ServerIdentity, Known] = field(default_factory=dict)
    fixture: str | None = None
    same_as_application: Callable[[Policy, Evidence], str | None] = lambda policy, evidence: None
    _proven_here: dict[Backend, tuple[Known, float]] = field(default_factory=dict)

    def recognise(self, link: Link) -> Known | None:
        """A database of this kernel that was proven a moment ago, known again without asking the server anything.

        Its name may come to stand for another one, or be protected meanwhile: hence only for a moment.
        """
        if not self._proven_here or not (backend := backend_here(link.fd, link.key_pid)):
            return None
        known, until = self._proven_here.get(backend, (None, 0.0))
        return known if time.monotonic() < until else None

    def meet(self, row: Sequence[str | None], link: Link, *, asked_for: str, way: str) -> Known:
        """Judge a database by the row that EVIDENCE_QUERY gave on a new connection."""
        evidence = evidence_of(row, link)
        evidence, verdict = self._judged(evidence, link)
        known = Known(evidence, verdict, asked_for, way)
        self.met[evidence.identity] = known
        # A mark or an allowance is bound to an oid, which the kernel does not tell: those are asked for each time.
        lasting = verdict.disposable and evidence.here and not verdict.said
        if lasting and (backend := backend_here(link.fd, link.key_pid)):
            self._proven_here[backend] = known, time.monotonic() + RECOGNISED_FOR_S
        return known

    def vouch(self, backend: Backend, known: Known) -> None:
        """This process made the database that `backend` names, and nobody else knows it: no question is needed."""
        self._proven_here[backend] = known, float("inf")

    def _judged(self, evidence: Evidence, link: Link) -> tuple[Evidence, Verdict]:
        now = datetime.now(UTC)
        verdict = judge(evidence, self.policy, now)
        if not verdict.disposable or verdict.said:
            return evidence, verdict
        # What costs more is looked at only where it can still change something.
        evidence = replace(
            evidence,
            certified=certified(*peer_of(link.fd)) if link.tls else None,
            application=self.same_as_application(self.policy, evidence),
        )
        return evidence, judge(evidence, self.policy, now)

    def check(self, known: Known | None, text: str, radius: Ask) -> None:
        """Let `text` pass or raise Refused. Proven databases are not asked again and nothing is parsed for them.

        `known` None: the connection is older than the guard, so nothing is known of its server.
        """
        if known is not None and known.verdict.disposable:
            return
        found = classify(text)
        if found.danger is not Danger.READ:
            self.refuse(known, found.worst, radius)

    def refuse(self, known: Known | None, worst: Sequence[Finding], radius: Ask) -> None:
        """Raise Refused, and remember it."""
        hit = radius(worst) if known else None
        refusal = refusal_text(known, worst, self.policy, fixture=self.fixture, radius=hit)
        self.refusals.append(refusal)
        report_refusal(refusal)
        raise Refused(refusal)


_active: Guard | None = None


def active() -> Guard | None:
    """The guard of this process, when there is one."""
    return _active


def activate(guard: Guard | None) -> None:
    """Make `guard` the one that the drivers ask; None lets everything pass."""
    global _active  # noqa: PLW0603 (one guard a process: that is the point)
    _active = guard
