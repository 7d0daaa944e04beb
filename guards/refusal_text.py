"""All words of a refusal: what was not sent, to which database, why, and what to do, for readers new to rowback."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from guards.allowance import target_of
from guards.call_site import call_site
from guards.connection_words import conninfo_value
from guards.policy import Policy
from guards.server_evidence import Evidence
from guards.statements import Finding, Reach
from guards.verdict import Verdict


@dataclass(frozen=True)
class Judgement:
    """One database as this process met it.

    The evidence, the verdict, what was asked for when it was reached, and the way that led there in the end, in libpq's
    words and without a password.
    """

    evidence: Evidence
    verdict: Verdict
    asked_for: str
    conninfo: str

    @property
    def name(self) -> str:
        """Database and server, as they really are."""
        return f"'{self.evidence.identity.database}' on {self.evidence.server}"

    @property
    def summary(self) -> str:
        """The verdict in one line."""
        verdict = self.verdict
        if verdict.disposable:
            return f"disposable ({'; '.join(verdict.proofs)})"
        return f"not proven disposable ({'; '.join((*verdict.vetoes, *verdict.missing))})"


def refusal_text(
    judgement: Judgement | None,
    worst: Sequence[Finding],
    policy: Policy,
    *,
    fixture: str | None = None,
    radius: str | None = None,
    beyond: Sequence[str] = (),
) -> str:
    """The whole refusal.

    `judgement` None: the connection is older than the guard. `radius`: what would have been hit. `beyond`: why
    something else than the session's own, disposable database keeps it from being sent.
    """
    what = "; ".join(map(str, worst))
    if judgement is None:
        return "\n".join(
            [
                f"refused[not-disposable]: {what} was not sent: this connection is older than the guard",
                *(f"  {line}" for line in _where(fixture)),
                "  no statement was sent",
                "  help: enable the guard before anything connects (pytest: the plugin does), and connect again",
            ]
        )
    if beyond:
        lines = [
            *_where(fixture),
            *_who(judgement),
            *beyond,
            "no statement was sent",
            *_help_beyond(judgement, worst, beyond),
        ]
        return "\n".join(
            [f"refused[not-disposable]: {what} was not sent to {judgement.name}", *(f"  {x}" for x in lines)]
        )
    session = (
        "behind a pooler the session was left as it is" if judgement.evidence.pooled else "the session is read-only"
    )
    helps = (
        _help(judgement, policy)
        if any(f.reach not in _OF_A_SERVER for f in worst)
        else _help_beyond(judgement, worst, ())
    )
    lines = [
        *_where(fixture),
        *_who(judgement),
        *judgement.verdict.vetoes,
        *judgement.verdict.missing,
        *([radius] if radius else []),
        f"no statement was sent; {session}",
        *helps,
    ]
    return "\n".join([f"refused[not-disposable]: {what} was not sent to {judgement.name}", *(f"  {x}" for x in lines)])


# No mark of one database helps there.
_OF_A_SERVER = (Reach.ROLE, Reach.NEW_ROLE, Reach.SERVER, Reach.SLOT, Reach.ELSEWHERE)


def _where(fixture: str | None) -> Iterator[str]:
    if test := os.environ.get("PYTEST_CURRENT_TEST"):
        yield f"in {test}" + (f", fixture '{fixture}'" if fixture else "")
    site = call_site()
    if site.place:
        yield f"at {site.place}"
    if site.sender:
        yield f"by {site.sender}"


def _who(judgement: Judgement) -> Iterator[str]:
    identity = judgement.evidence.identity
    yield f"asked for {judgement.asked_for}"
    yield (
        f"it is PostgreSQL {identity.server_version_num // 10000}, system identifier {identity.system_identifier},"
        f" database oid {identity.database_oid}, made {judgement.evidence.born_at:%Y-%m-%dT%H:%M:%SZ}"
    )


def quoted(text: str) -> str:
    """For a shell, always in quotes."""
    return "'" + text.replace("'", "'\\''") + "'"


def _help(judgement: Judgement, policy: Policy) -> Iterator[str]:
    yield f"help: use a throw-away database; do not work around this. {mark_help(judgement)}"
    if policy.forbidden_by is None and not _protected(judgement):
        target = target_of(judgement.evidence.identity)
        yield f"      or, for this user and a while: rowback guard allow --target {target} --reason … --for 30m"


def mark_help(judgement: Judgement) -> str:
    """The command by which its owner makes a database disposable; for a protected one, first what takes that off."""
    name = judgement.evidence.identity.database
    return _commands(
        f"--dsn {quoted(judgement.conninfo)} --reason …{_confirmation(name)}", protected=_protected(judgement)
    )


def _commands(options: str, *, protected: bool) -> str:
    if protected:
        return (
            "It is protected. If that is over, its owner takes the protection off and marks it:"
            f" rowback guard unmark {options}; rowback guard mark {options}"
        )
    return f"If this one may be destroyed, its owner says so: rowback guard mark {options}"


def _help_beyond(judgement: Judgement, worst: Sequence[Finding], beyond: Sequence[str]) -> Iterator[str]:
    """Another database is in question: its own mark helps, not that of the session's. No mark is for a server."""
    named = [name for f in worst if f.reach in (Reach.DATABASE, Reach.SESSIONS) for name in f.objects if name]
    if not named:
        yield "help: use a server of the tests' own for what reaches beyond one database"
        return
    yield "help: let it name a throw-away database; do not work around this."
    for name in dict.fromkeys(named):
        objections = [objection for objection in beyond if objection.startswith(f"'{name}' ")]
        options = f"--dsn {quoted(conninfo_to(judgement.conninfo, name))} --reason …{_confirmation(name)}"
        if objections:
            commands = _commands(options, protected=any(" is marked protected " in each for each in objections))
            yield f"      '{name}': {commands}"


def conninfo_to(conninfo: str, database: str) -> str:
    """The way to another database of the same server, in libpq's words."""
    value = f"dbname={conninfo_value(database)}"
    if "dbname=" not in conninfo:
        return f"{conninfo} {value}"
    return re.sub(r"\bdbname=(?:'(?:[^'\\]|\\.)*'|\S+)", lambda _: value, conninfo)


def _protected(judgement: Judgement) -> bool:
    marker = judgement.evidence.comment_marker
    return judgement.verdict.by_owner and marker is not None and marker.state == "protected"


def _confirmation(name: str) -> str:
    """The name is asked for only on a terminal."""
    return "" if has_terminal() else f" --confirm {quoted(name)}"


def has_terminal() -> bool:
    """Whether standard input is a terminal. Processes of multiprocessing have closed it."""
    with suppress(ValueError):
        return sys.__stdin__ is not None and sys.__stdin__.isatty()
    return False
