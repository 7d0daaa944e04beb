"""The guard of this process: what it knows of each database, what it refused, and the words of a refusal."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from guards.evidence import Evidence, evidence_of
from guards.same_kernel import started_at
from guards.statements import Danger, Finding, classify
from guards.verdict import Policy, Strictness, Verdict, judge

# What an unproven session is given before anybody else's first statement. The server then refuses what no parser sees:
# functions, rules, other code on the same connection. A short lock_timeout: nobody waits in front of real users.
READ_ONLY = "set default_transaction_read_only = on; set lock_timeout = '5s'"


class Refused(BaseException):
    """A statement was not sent. No Exception: a clean-up that catches those must not swallow it."""


@dataclass(frozen=True)
class Known:
    """One database as this process met it: the evidence, the verdict, and what was asked for when it was reached."""

    evidence: Evidence
    verdict: Verdict
    asked_for: str

    @property
    def name(self) -> str:
        """Database and server, as they really are."""
        return f"'{self.evidence.identity.database}' on {self.evidence.server}"


@dataclass
class Guard:
    """State of the process. `refusals` are kept so that a run fails at its end even if somebody swallowed one."""

    policy: Policy
    refusals: list[str] = field(default_factory=list)

    def meet(self, row: Sequence[str | None], fd: int, asked_for: str) -> Known:
        """Judge a database by the row that EVIDENCE_QUERY gave on a new connection."""
        evidence = evidence_of(row, fd)
        return Known(evidence, judge(evidence, self.policy, datetime.now(UTC)), asked_for)

    def check(self, known: Known | None, text: str, radius: Callable[[Sequence[Finding]], str | None]) -> None:
        """Let `text` pass or raise Refused. Proven databases are not asked again and nothing is parsed for them.

        `known` None: the connection is older than the guard, so nothing is known of its server.
        """
        if known is not None and known.verdict.disposable:
            return
        found = classify(text)
        if found.danger is Danger.READ:
            return
        refusal = refusal_text(known, found.worst, radius(found.worst) if known else None)
        self.refusals.append(refusal)
        raise Refused(refusal)


def policy_of(strictness: Strictness) -> Policy:
    """The policy of this machine at this moment."""
    began = started_at()
    return Policy(strictness, datetime.fromtimestamp(began, UTC) if began else None)


def refusal_text(known: Known | None, worst: Sequence[Finding], radius: str | None) -> str:
    """What was not sent, to whom, why, and what to do: everything that somebody needs who has never heard of us."""
    what = "; ".join(map(str, worst))
    where = os.environ.get("PYTEST_CURRENT_TEST")
    lines = [f"  in {where}"] if where else []
    if known is None:
        return "\n".join([
            f"refused[not-disposable]: {what} was not sent: this connection is older than the guard", *lines,
            "  no statement was sent",
            "  help: enable the guard before anything connects (pytest: the plugin does), and connect again",
        ])  # fmt: skip
    identity = known.evidence.identity
    lines += [
        f"  asked for {known.asked_for}",
        f"  it is PostgreSQL {identity.server_version_num // 10000}, system identifier {identity.system_identifier},"
        f" made {known.evidence.born_at:%Y-%m-%dT%H:%M:%SZ}",
        *(f"  {line}" for line in (*known.verdict.vetoes, *known.verdict.missing)),
        *([f"  {radius}"] if radius else []),
        "  no statement was sent; the session is read-only",
        "  help: use a throw-away database; do not work around this. If this one may be destroyed, its owner says so:"
        f" rowback guard mark --dsn '{known.asked_for}' --reason …",
    ]  # fmt: skip
    return "\n".join([f"refused[not-disposable]: {what} was not sent to {known.name}", *lines])


_active: Guard | None = None


def active() -> Guard | None:
    """The guard of this process, when there is one."""
    return _active


def activate(guard: Guard | None) -> None:
    """Make `guard` the one that the drivers ask; None lets everything pass."""
    global _active  # noqa: PLW0603 (one guard a process: that is the point)
    _active = guard
