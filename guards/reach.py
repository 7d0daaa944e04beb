"""What a statement reaches beyond the database of its session, and whether that is proven disposable as well.

The proof of one database says nothing of the others on its server when it is a mark; a new server proves all that it
holds, except what is protected. Roles, settings and sessions belong to all databases of a server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from guards import clock
from guards.evidence import Evidence
from guards.marker import read_marker, unreadable
from guards.policy import Policy
from guards.statements import Finding, Reach
from guards.telling import Known
from guards.verdict import judge_by_mark

CURRENT = ""  # among the databases whose sessions a statement ends: its own
# Statements without any of these stay in their database. Two lists, because names of tables and columns hold the words.
_BY_FUNCTIONS = (b"select", b"insert", b"update", b"delete", b"with")
_VERBS = (b"drop", b"alter", b"reassign", b"create ", b"comment ", b"dblink", b"pg_", b"grant ", b"revoke ")
_OBJECTS = (
    b"database", b"role", b"user", b"group", b"tablespace", b"system", b"owned", b"server", b"dblink", b"_backend",
    b"reload_conf", b"rotate_logfile", b"switch_wal", b"promote", b"wal_replay",
)  # fmt: skip


def may_reach(text: str) -> bool:
    """Whether a text may leave its database; False costs half a microsecond and is certain but for SQL put together."""
    return may_reach_bytes(text.encode("utf-8", "surrogatepass"))


def may_reach_bytes(text: bytes) -> bool:
    """The same of an encoded text."""
    lowered = text.lower()
    return not stays(text) and any(v in lowered for v in _VERBS) and any(word in lowered for word in _OBJECTS)


def stays(text: bytes) -> bool:
    """Whether a text is one statement of a kind that leaves its database by a function alone, and calls none of those:
    most are, and this is asked of each."""
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
    """All databases and roles of a server, by a question of the guard's own."""

    databases: Mapping[str, Sibling]
    roles: frozenset[str]


@dataclass
class Judging:
    """What is needed to judge statements of one session that leave its database.

    `neighbourhood`: asked once, when a statement needs it. `application`: the configured database of the application
    that an evidence is of, or None. `whole_server`: the evidence proves the server, whoever said something of the one
    database. `at`: the verdict on where a connection string leads, in one line, None where it
    is disposable. `roles`: those that this process made.
    """

    known: Known
    policy: Policy
    neighbourhood: Callable[[], Neighbourhood | None]
    application: Callable[[Policy, Evidence], str | None]
    at: Callable[[str], str | None]
    whole_server: bool
    roles: set[tuple[str, str]] = field(default_factory=set)

    def objections(self, finding: Finding) -> list[str]:
        """Why a statement may not pass; empty when all that it reaches is disposable."""
        if finding.reach in (None, Reach.NEW_DATABASE):
            return []
        if finding.reach is Reach.ELSEWHERE:
            return self._elsewhere(finding)
        around = self.neighbourhood()
        if around is None:
            return ["what else is on its server could not be asked"]
        return list(self._on_this_server(finding, around))

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
                if not finding.objects or any((self._server, role) not in self.roles for role in finding.objects):
                    yield from self._of_server("roles belong", around)
            case _:
                yield from self._of_server("it belongs", around)

    @property
    def _server(self) -> str:
        return self.known.evidence.identity.system_identifier

    def _of_databases(self, names: tuple[str, ...] | list[str], around: Neighbourhood) -> Iterator[str]:
        current = self.known.evidence.identity.database
        for name in names:
            sibling = around.databases.get(name)
            if name not in (CURRENT, current) and sibling and (objection := self._of_sibling(sibling)):
                yield objection

    def _of_sibling(self, sibling: Sibling) -> str | None:
        evidence = self.known.evidence
        identity = replace(evidence.identity, database=sibling.name, database_oid=sibling.oid)
        there = replace(
            evidence, identity=identity, comment_marker=read_marker(sibling.comment),
            unreadable_mark=unreadable(sibling.comment),
        )  # fmt: skip
        if spoken := judge_by_mark(there, self.policy, clock.now()):
            return None if spoken.disposable else f"'{sibling.name}' is {spoken.vetoes[0]}"
        if there.unreadable_mark:
            return f"'{sibling.name}' bears a mark that this version of rowback cannot read"
        if not self.whole_server:
            return f"'{sibling.name}' bears no mark, and what is known of '{evidence.identity.database}' is not for it"
        if said := self.application(self.policy, there):
            return f"'{sibling.name}' is the application's own database: {said}"
        return None

    def _of_server(self, what: str, around: Neighbourhood) -> Iterator[str]:
        if not self.whole_server:
            current = self.known.evidence.identity.database
            yield f"{what} to all databases of the server, and '{current}' alone is proven"
            return
        for sibling in around.databases.values():
            marker = read_marker(sibling.comment)
            spoken = unreadable(sibling.comment) or (marker and marker.state == "protected")
            if spoken and (objection := self._of_sibling(sibling)):
                yield f"{what} to all databases of the server: {objection}"

    def _elsewhere(self, finding: Finding) -> list[str]:
        if not finding.way:
            return ["where it leads is not known here"]
        objection = self.at(finding.way)
        return [f"it leads to {objection}"] if objection else []
