"""What a statement reaches beyond the database of its session, and whether that is proven disposable as well.

The proof of one database says nothing of the others on its server when it is a mark; a new server proves all that it
holds, except what is protected. Roles, settings and sessions belong to all databases of a server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from guards import system_clock
from guards.database_mark import Marker, read_marker, unreadable
from guards.guarded_run import this_run
from guards.policy import Policy
from guards.refusal_text import Judgement
from guards.server_evidence import Evidence
from guards.statements import Finding, Reach
from guards.statements.beyond_database import CURRENT
from guards.statements.constant_text import HOLE, NAME
from guards.verdict import judge_by_mark

# One statement that begins so leaves its database by a function alone, or by a table of the catalog.
_BY_FUNCTIONS = (b"select", b"insert", b"update", b"delete", b"with")
# Statements without any of these stay in their database. Two lists, because names of tables and columns hold the words.
_VERBS = (
    b"drop",
    b"alter",
    b"reassign",
    b"create",
    b"comment",
    b"dblink",
    b"pg_",
    b"grant",
    b"revoke",
    b"copy",
    b"security",
    b"merge",
)
_OBJECTS = (
    b"database",
    b"role",
    b"user",
    b"group",
    b"tablespace",
    b"system",
    b"owned",
    b"server",
    b"dblink",
    b"_backend",
    b"reload_conf",
    b"rotate_logfile",
    b"switch_wal",
    b"promote",
    b"wal_replay",
    b"_slot",
    b"subscription",
    b"program",
    b"pg_auth",
    b"shdesc",
    b"shsec",
    b"shdepend",
    b"role_setting",
    b"origin",
    b"_acl",
    b"grant",
    b"revoke",
    b" to ",
    b"stat_reset",
)


def may_reach(text: str) -> bool:
    """Whether a text may leave its database, by a look for words.

    False is certain for the statements and functions that the classifier knows to leave it, where their names stand in
    the text.
    """
    return may_reach_bytes(text.encode("utf-8", "surrogatepass"))


def may_reach_bytes(text: bytes) -> bool:
    """The same of an encoded text."""
    lowered = text.lower()
    return not stays(text) and any(v in lowered for v in _VERBS) and any(word in lowered for word in _OBJECTS)


def stays(text: bytes) -> bool:
    """Whether a text is one statement of a kind that leaves its database by a function alone, and calls none of those.

    Most are, and this is asked of each.
    """
    lowered = text.lower()
    return (
        lowered.startswith(_BY_FUNCTIONS) and b";" not in lowered and b"pg_" not in lowered and b"dblink" not in lowered
    )


@dataclass(frozen=True)
class Sibling:
    """A database of the same server. `sessions`: of clients, now; `comment`: the one that may be a mark."""

    name: str
    oid: int
    comment: str | None
    sessions: int


@dataclass(frozen=True)
class Neighbourhood:
    """What surrounds a session on its server.

    `databases`, `roles`: all of them. `slots`: replication slots with their databases (None: of the whole server).
    `subscriptions`: connection strings of those of the session's database (None: its role may not see them).
    """

    databases: Mapping[str, Sibling]
    roles: frozenset[str]
    slots: Mapping[str, str | None]
    subscriptions: Mapping[str, str | None]


@dataclass
class StatementJudge:
    """What is needed to judge statements of one session that act outside its database.

    `neighbourhood`: read once, when a statement needs it. `application`: the application's configured database that the
    evidence describes, or None. `whole_server`: the proof holds for every database of the server, not only for
    this one. `at`: why the database that a connection string leads to is not disposable, None where it is.
    `roles`: roles that this process created.
    """

    judgement: Judgement
    policy: Policy
    neighbourhood: Callable[[], Neighbourhood | None]
    application: Callable[[Policy, Evidence], str | None]
    at: Callable[[str], str | None]
    whole_server: bool
    roles: set[tuple[str, str]] = field(default_factory=set)

    def objections(self, finding: Finding) -> list[str]:
        """Why a statement may not pass; empty when all that it reaches is disposable.

        New roles are remembered as those of this process.
        """
        if finding.reach in (None, Reach.NEW_DATABASE):
            return []
        if finding.reach is Reach.ELSEWHERE and finding.conninfo:
            return self._elsewhere([finding.conninfo])
        around = self.neighbourhood()
        if around is None:
            return ["what else is on its server could not be asked"]
        return list(self._on_this_server(finding, around))

    def is_own(self, names: Iterable[str]) -> bool:
        """Whether this run made all of these databases."""
        around = self.neighbourhood()
        siblings = [around.databases.get(name) for name in names] if around else [None]
        marks = [read_marker(each.comment) if each else None for each in siblings]
        return all(mark is not None and mark.run == this_run().key for mark in marks)

    def _on_this_server(self, finding: Finding, around: Neighbourhood) -> Iterator[str]:
        match finding.reach:
            case Reach.NEW_ROLE:
                self.roles |= {(self._server, role) for role in finding.objects if role not in around.roles}
            case Reach.DATABASE:
                yield from self._of_databases(finding.objects, around)
            case Reach.SESSIONS:
                busy = [each.name for each in around.databases.values() if each.sessions]
                yield from self._of_databases(finding.objects or busy, around)
            case Reach.ROLE:
                named = [r for r in finding.objects if r in around.roles or r in _SPECIAL or not _is_read(r)]
                if any((self._server, role) not in self.roles for role in named):
                    yield from self._of_server("roles belong", around)
            case Reach.SLOT:
                yield from self._of_slots(finding, around)
            case Reach.ELSEWHERE:
                subscriptions = [around.subscriptions[name] for name in finding.objects if name in around.subscriptions]
                yield from self._elsewhere(subscriptions if finding.verb.endswith("SUBSCRIPTION") else [None])
            case _:
                yield from self._of_server("it belongs", around)

    @property
    def _server(self) -> str:
        return self.judgement.evidence.identity.system_identifier

    def _of_databases(self, names: Iterable[str], around: Neighbourhood) -> Iterator[str]:
        """Objections to named databases. A session's own is one of them unless it is proven."""
        current = self.judgement.evidence.identity.database
        names = [current if name == CURRENT else name for name in names]
        for name in dict.fromkeys(names if all(map(_is_read, names)) else around.databases):
            free = name == current and self.judgement.verdict.disposable
            sibling = around.databases.get(name)
            if not free and sibling and (objection := self._of_sibling(sibling)):
                yield objection

    def _of_slots(self, finding: Finding, around: Neighbourhood) -> Iterator[str]:
        """A logical slot belongs to a database; a physical one to whatever follows the server."""
        slots = [around.slots[name] for name in finding.objects if name in around.slots]
        if not finding.objects or None in slots or not all(map(_is_read, finding.objects)):
            yield from self._of_server("it belongs", around)
        yield from self._of_databases([name for name in slots if name], around)

    def _of_sibling(self, sibling: Sibling) -> str | None:
        evidence = self.judgement.evidence
        identity = replace(evidence.identity, database=sibling.name, database_oid=sibling.oid)
        mark: Marker | None = read_marker(sibling.comment)
        its_evidence = replace(
            evidence, identity=identity, comment_marker=mark, unreadable_mark=unreadable(sibling.comment)
        )
        if spoken := judge_by_mark(its_evidence, self.policy, system_clock.now()):
            return None if spoken.disposable else f"'{sibling.name}' is {spoken.vetoes[0]}"
        if its_evidence.unreadable_mark:
            return f"'{sibling.name}' bears a mark that this version of rowback cannot read"
        if not self.whole_server:
            why = "; ".join(mark.objections(identity, evidence.at)) if mark else "it bears no mark"
            if sibling.name == evidence.identity.database:
                return f"'{sibling.name}' is not proven disposable: {why}"
            return f"'{sibling.name}' is judged by itself, and {why}"
        if configured := self.application(self.policy, its_evidence):
            return f"'{sibling.name}' is the application's own database: {configured}"
        return None

    def _of_server(self, what: str, around: Neighbourhood) -> Iterator[str]:
        current = self.judgement.evidence.identity.database
        if not self.whole_server:
            yield f"{what} to all databases of the server, and '{current}' alone is proven"
            return
        for sibling in around.databases.values():
            marker = read_marker(sibling.comment)
            spoken = unreadable(sibling.comment) or (marker and marker.state == "protected")
            if spoken and (objection := self._of_sibling(sibling)):
                yield f"{what} to all databases of the server: {objection}"

    def _elsewhere(self, ways: Sequence[str | None]) -> list[str]:
        if not all(ways):
            return ["where it leads is not known here"]
        return [f"it leads to {objection}" for conninfo in ways if conninfo and (objection := self.at(conninfo))]


def _is_read(name: str) -> bool:
    """Whether a name is what the server will read.

    One that SQL puts together, or that could not be decoded, may be any. A name that is read, and that the server does
    not have, is no harm.
    """
    return not any(part in name for part in (HOLE, NAME, "\N{REPLACEMENT CHARACTER}"))


_SPECIAL = ("current_user", "session_user", "current_role", "ALL", "public")
