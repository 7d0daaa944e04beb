"""The guard of this process: what it knows of each database, and what it refused."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Protocol, TypeAlias, TypeVar

from guards import system_clock
from guards.certificate import certified
from guards.children import report_refusal
from guards.cross_database_reach import Neighbourhood, StatementJudge
from guards.policy import Policy
from guards.refusal_text import Judgement, refusal_text
from guards.same_kernel import Backend, backend_here, peer_of
from guards.server_evidence import EVIDENCE_QUERY, JUDGED_BEFORE_QUERY, Evidence, Link, evidence_of
from guards.server_identity import ServerIdentity
from guards.server_location import located
from guards.statements import Classified, Danger, Finding, Reach, classify
from guards.verdict import Verdict, judge, judge_by_evidence, judge_by_mark

# What an unproven session is given before anybody else's first statement. The server then refuses what no parser sees:
# functions, rules, other code on the same connection. A short lock_timeout: nobody waits in front of real users.
READ_ONLY = "set default_transaction_read_only = on; set lock_timeout = '5s'"

RECOGNISED_FOR_S = 30.0

T = TypeVar("T")
Row: TypeAlias = Sequence[str | None]
# The guard's own statements on a connection of a driver, each answered by its first row as text, in whatever way that
# driver waits; ends with a result.
QueryExchange: TypeAlias = Generator[str, Row, T]


class Refused(BaseException):
    """A statement was not sent. No Exception: a clean-up that catches those must not swallow it."""


@dataclass(frozen=True)
class ConnectionEnds:
    """Both ends of a connection.

    `parameters`: how the guard itself gets there (libpq's words, and the password); `asked_for`, `way`: what the caller
    said and where it led, as they may be printed.
    """

    link: Link
    parameters: Mapping[str, Any]
    asked_for: str
    conninfo: str


class Questions(Protocol):
    """What the guard asks through connections of its own."""

    def radius(self, ends: ConnectionEnds, findings: Sequence[Finding]) -> str | None:
        """What the findings would have hit, in one line."""

    def application(self, policy: Policy, evidence: Evidence) -> str | None:
        """The configured database of the application that this is."""

    def neighbourhood(self, ends: ConnectionEnds) -> Neighbourhood | None:
        """What else is on the server; None where it cannot be asked."""

    def at(self, guard: Guard, ends: ConnectionEnds, conninfo: str) -> str | None:
        """Why the database where a connection string leads is not disposable; None where it is."""

    def abroad(self, guard: Guard, ends: ConnectionEnds, findings: Sequence[Finding]) -> str | None:
        """Why tables of other servers that the findings write to are not disposable; None where they are, or none."""


class Unasked:
    """No questions: what depends on an answer is refused."""

    def radius(self, ends: ConnectionEnds, findings: Sequence[Finding]) -> str | None:
        """Nothing is known."""
        return None

    def application(self, policy: Policy, evidence: Evidence) -> str | None:
        """No application is configured."""
        return None

    def neighbourhood(self, ends: ConnectionEnds) -> Neighbourhood | None:
        """Nothing is known."""
        return None

    def at(self, guard: Guard, ends: ConnectionEnds, conninfo: str) -> str | None:
        """Not judged."""
        return "a server that was not asked"

    def abroad(self, guard: Guard, ends: ConnectionEnds, findings: Sequence[Finding]) -> str | None:
        """Not judged."""
        return "tables of a server that was not asked"


@dataclass
class Guard:
    """State of the process.

    `refusals` are kept so that a run fails at its end even if one was swallowed, and `warnings` are printed there.
    `fixture`: the pytest fixture that is being set up.
    """

    policy: Policy
    refusals: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    judged: dict[ServerIdentity, Judgement] = field(default_factory=dict)
    fixture: str | None = None
    questions: Questions = field(default_factory=Unasked)
    _proven_here: dict[Backend, tuple[Judgement, float]] = field(default_factory=dict)
    _peers: set[tuple[str, int]] = field(default_factory=set)
    _judged_before: dict[tuple[object, ...], Judgement] = field(default_factory=dict)
    _elsewhere: set[tuple[str, int, str, str]] = field(default_factory=set)
    _roles: set[tuple[str, str]] = field(default_factory=set)

    def judge_connection(self, link: Link, ends: Callable[[], ConnectionEnds]) -> QueryExchange[Judgement]:
        """Judge the database of a new connection: by its process, by one short question, or by the whole evidence."""
        if judgement := self.recognise(link):
            return judgement
        peer = peer_of(link.fd)
        if peer in self._peers:
            row = yield JUDGED_BEFORE_QUERY
            if judgement := self._judged_before.get((peer, *_key(row))):
                pooled = link.key_pid != int(row[2] or 0)
                return judgement if pooled == judgement.evidence.pooled else _pooled(judgement, pooled)
        self._peers.add(peer)
        row = yield EVIDENCE_QUERY
        return self.judge_evidence(row, ends())

    def recognise(self, link: Link) -> Judgement | None:
        """A database of this kernel that was proven a moment ago, known again without asking the server anything.

        Its name may come to stand for another one, or be protected meanwhile: hence only for a moment.
        """
        if not self._proven_here or not (backend := backend_here(link.fd, link.key_pid)):
            return None
        judgement, until = self._proven_here.get(backend, (None, 0.0))
        return judgement if system_clock.seconds() < until else None

    def judge_evidence(self, row: Row, ends: ConnectionEnds) -> Judgement:
        """Judge a database by the row that EVIDENCE_QUERY gave on a new connection.

        What is proven holds for the run, and so does what is missing; sessions of others come and go.
        """
        evidence, verdict = self._judged(evidence_of(row, ends.link), ends.link)
        judgement = Judgement(evidence, verdict, ends.asked_for, ends.conninfo)
        self.judged[evidence.identity] = judgement
        if verdict.disposable or not (evidence.foreign_sessions or evidence.replicas):
            self._judged_before[peer_of(ends.link.fd), *_key(row)] = judgement
        # A mark or an allowance is bound to an oid, which the kernel does not tell: those are asked for each time.
        lasting = verdict.disposable and evidence.on_this_kernel and not verdict.by_owner
        if lasting and (backend := backend_here(ends.link.fd, ends.link.key_pid)):
            self._proven_here[backend] = judgement, system_clock.seconds() + RECOGNISED_FOR_S
        return judgement

    def vouch(self, backend: Backend, judgement: Judgement) -> None:
        """Register a database that this process created: connections that `backend` serves need no query."""
        self._proven_here[backend] = judgement, float("inf")

    def _judged(self, evidence: Evidence, link: Link) -> tuple[Evidence, Verdict]:
        if verdict := judge_by_mark(evidence, self.policy, system_clock.now()):
            return evidence, verdict
        evidence = self._located(evidence, link)
        verdict = judge(evidence, self.policy, system_clock.now())
        if not verdict.disposable or verdict.by_owner:
            return evidence, verdict
        # What costs more is looked at only where it can still change something.
        evidence = replace(
            evidence,
            certified=certified(*peer_of(link.fd)) if link.tls else None,
            application=self.questions.application(self.policy, evidence),
        )
        return evidence, judge(evidence, self.policy, system_clock.now())

    def _located(self, evidence: Evidence, link: Link) -> Evidence:
        """A server that was not here does not come here later: /proc is walked over once for each."""
        server = (*peer_of(link.fd), evidence.identity.system_identifier, evidence.identity.started_at)
        evidence = located(evidence, link, not_here=server in self._elsewhere)
        if not evidence.on_this_kernel:
            self._elsewhere.add(server)
        return evidence

    def check(self, judgement: Judgement | None, text: str, ends: Callable[[], ConnectionEnds]) -> None:
        """Let `text` pass or raise Refused. On a proven database only what leaves it is looked at.

        `judgement` None: the connection is older than the guard, so nothing is known of its server.
        """
        classified = classify(text)
        if judgement is not None and judgement.verdict.disposable:
            self._check_reach(judgement, classified, ends)
        elif classified.danger is not Danger.READ:
            self.refuse(judgement, classified.worst, ends, *self._of_named(judgement, classified, ends))

    def _check_reach(self, judgement: Judgement, classified: Classified, ends: Callable[[], ConnectionEnds]) -> None:
        statement_judge = self.statement_judge(judgement, ends()) if classified.reaching else None
        for finding in classified.reaching:
            if statement_judge and (objections := statement_judge.objections(finding)):
                self.refuse(judgement, [finding], ends, *objections)
        if judgement.evidence.foreign_servers and classified.danger is not Danger.READ:
            writes = [finding for finding in classified.findings if finding.danger is not Danger.READ]
            if objection := self.questions.abroad(self, ends(), writes):
                self.refuse(judgement, classified.worst, ends, objection)

    def _of_named(
        self, judgement: Judgement | None, classified: Classified, ends: Callable[[], ConnectionEnds]
    ) -> Sequence[str]:
        """Where a text is about another database on a server of this machine, that one is in question."""
        if judgement is None or any(f.reach not in (Reach.DATABASE, Reach.SESSIONS) for f in classified.worst):
            return ()
        statement_judge = self.statement_judge(judgement, ends())
        if not statement_judge.judgement.evidence.on_this_kernel:
            return ()
        return [objection for finding in classified.worst for objection in statement_judge.objections(finding)]

    def statement_judge(self, judgement: Judgement, ends: ConnectionEnds) -> StatementJudge:
        """What judges the statements of a session that leave its database.

        Marks by name count on a server of this machine alone, so a database that its own mark proved is located now.
        """
        if not judgement.evidence.on_this_kernel:
            judgement = replace(judgement, evidence=self._located(judgement.evidence, ends.link))
        return StatementJudge(
            judgement,
            self.policy,
            cache(lambda: self.questions.neighbourhood(ends)),
            self.questions.application,
            lambda conninfo: self.questions.at(self, ends, conninfo),
            judge_by_evidence(judgement.evidence, self.policy).disposable,
            self._roles,
        )

    def refuse(
        self,
        judgement: Judgement | None,
        worst: Sequence[Finding],
        ends: Callable[[], ConnectionEnds] | None,
        *beyond: str,
    ) -> None:
        """Raise Refused, and remember it.

        `ends` None: what would have been hit is not asked. `beyond`: why something else than the session's own database
        keeps it from being sent.
        """
        radius = None
        if judgement and ends:
            ends_now = ends()
            judgement = replace(judgement, asked_for=ends_now.asked_for, conninfo=ends_now.conninfo)
            radius = None if beyond else self.questions.radius(ends_now, worst)
        refusal = refusal_text(judgement, worst, self.policy, fixture=self.fixture, radius=radius, beyond=beyond)
        self.refusals.append(refusal)
        report_refusal(refusal)
        raise Refused(refusal)


def _key(row: Row) -> tuple[str | None, ...]:
    """Oid, the server's start, comment, and whether there are foreign servers.

    A mark that was made since, or taken off, is another key.
    """
    return row[0], row[1], row[3], row[4]


def _pooled(judgement: Judgement, pooled: bool) -> Judgement:  # noqa: FBT001 (a fact)
    return replace(judgement, evidence=replace(judgement.evidence, pooled=pooled))


_active: Guard | None = None


def active() -> Guard | None:
    """The guard of this process, when there is one."""
    return _active


def activate(guard: Guard | None) -> None:
    """Make `guard` the one that the drivers ask; None lets everything pass."""
    global _active  # noqa: PLW0603 (one guard a process: that is the point)
    _active = guard
