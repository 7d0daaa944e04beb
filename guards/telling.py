"""All words of a refusal: what was not sent, to whom, why, and what to do, for somebody who has never heard of us."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from guards.allowance import target_of
from guards.call_site import call_site
from guards.evidence import Evidence
from guards.policy import Policy
from guards.statements import Finding
from guards.verdict import Verdict


@dataclass(frozen=True)
class Known:
    """One database as this process met it: the evidence, the verdict, what was asked for when it was reached, and the
    way that led there in the end, in libpq's words and without a password."""

    evidence: Evidence
    verdict: Verdict
    asked_for: str
    way: str

    @property
    def name(self) -> str:
        """Database and server, as they really are."""
        return f"'{self.evidence.identity.database}' on {self.evidence.server}"

    @property
    def told(self) -> str:
        """The verdict in one line."""
        verdict = self.verdict
        if verdict.disposable:
            return f"disposable ({'; '.join(verdict.proofs)})"
        return f"not proven disposable ({'; '.join((*verdict.vetoes, *verdict.missing))})"


def refusal_text(
    known: Known | None, worst: Sequence[Finding], policy: Policy, *, fixture: str | None = None,
    radius: str | None = None,
) -> str:  # fmt: skip
    """The whole refusal. `known` None: the connection is older than the guard. `radius`: what would have been hit."""
    what = "; ".join(map(str, worst))
    if known is None:
        return "\n".join([
            f"refused[not-disposable]: {what} was not sent: this connection is older than the guard",
            *(f"  {line}" for line in _where(fixture)),
            "  no statement was sent",
            "  help: enable the guard before anything connects (pytest: the plugin does), and connect again",
        ])  # fmt: skip
    session = "behind a pooler the session was left as it is" if known.evidence.pooled else "the session is read-only"
    lines = [
        *_where(fixture), *_who(known), *known.verdict.vetoes, *known.verdict.missing, *([radius] if radius else []),
        f"no statement was sent; {session}", *_help(known, policy),
    ]  # fmt: skip
    return "\n".join([f"refused[not-disposable]: {what} was not sent to {known.name}", *(f"  {x}" for x in lines)])


def _where(fixture: str | None) -> Iterator[str]:
    if test := os.environ.get("PYTEST_CURRENT_TEST"):
        yield f"in {test}" + (f", fixture '{fixture}'" if fixture else "")
    site = call_site()
    if site.place:
        yield f"at {site.place}"
    if site.sender:
        yield f"by {site.sender}"


def _who(known: Known) -> Iterator[str]:
    identity = known.evidence.identity
    yield f"asked for {known.asked_for}"
    yield (
        f"it is PostgreSQL {identity.server_version_num // 10000}, system identifier {identity.system_identifier},"
        f" database oid {identity.database_oid}, made {known.evidence.born_at:%Y-%m-%dT%H:%M:%SZ}"
    )


def quoted(text: str) -> str:
    """For a shell, always in quotes."""
    return "'" + text.replace("'", "'\\''") + "'"


def _help(known: Known, policy: Policy) -> Iterator[str]:
    yield (
        "help: use a throw-away database; do not work around this. If this one may be destroyed, its owner says so:"
        f" rowback guard mark --dsn {quoted(known.way)} --reason …"
    )
    if policy.forbidden_by is None:
        target = target_of(known.evidence.identity)
        yield f"      or, for this user and a while: rowback guard allow --target {target} --reason … --for 30m"
