"""Which objects of T are missing now, and which of them hang together with what was asked for. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase

from recovery.model.values import TableName
from recovery.postgres.archive.table_of_contents import ArchiveEntry, ArchiveSection

# What is not an object of the database's content, or would act by itself.
LEFT_OUT = frozenset(
    {"ENCODING", "STDSTRINGS", "SEARCHPATH", "DATABASE", "DATABASE PROPERTIES", "SUBSCRIPTION", "SUBSCRIPTION TABLE"}
)
# What is named by a table's name, and can be asked for.
RELATIONS = frozenset({"TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE", "SEQUENCE"})
WITH_ROWS = frozenset({"TABLE", "SEQUENCE"})
OWN_SCHEMAS = ("rowback_case_", "recovered_")


class Presence(Enum):
    """What became of an object of T."""

    HERE = "there as itself, or made again just as it was where it holds nothing"
    MOVED = "there under another name"
    TAKEN = "gone, and something else has its name"
    MISSING = "gone"


@dataclass(frozen=True)
class MissingObjects:
    """What is to be made anew, in the archive's order.

    `taken`: things that hang together with it, or were asked for, and whose names other things have now. `lost`: other
    tables of which that is so. `altered`: what is there, is not as it was, and was asked for or needs missing ones.
    `asked`: the tables among those of which everything is asked for, or of all where nothing is named. `needed`: what
    the missing ones need and what is not as it was. `moved`: what was asked for and has another name now, with that.
    `unfit`: what cannot be made because it needs such a thing, with that. `others`: missing as well, and not asked for.
    `unknown`: names that were not there at T.
    """

    entries: tuple[ArchiveEntry, ...]
    taken: tuple[ArchiveEntry, ...]
    lost: tuple[ArchiveEntry, ...]
    altered: tuple[ArchiveEntry, ...]
    asked: tuple[ArchiveEntry, ...]
    needed: tuple[ArchiveEntry, ...]
    moved: tuple[tuple[ArchiveEntry, ArchiveEntry], ...]
    unfit: tuple[tuple[ArchiveEntry, ArchiveEntry], ...]
    others: tuple[ArchiveEntry, ...]
    unknown: tuple[TableName, ...]

    @property
    def tables(self) -> tuple[TableName, ...]:
        """The tables among them, partitioned ones too."""
        return tuple(entry.name for entry in self.entries if entry.kind == "TABLE")


def missing_objects(
    then: Sequence[ArchiveEntry],
    now: Sequence[ArchiveEntry],
    wanted: Sequence[TableName],
    needed: Collection[int] = (),
) -> MissingObjects:
    """Compare two archives of one database. `wanted`: names or patterns of relations; none: everything missing.

    With a relation comes what depended on it and is missing, since CASCADE takes that along, and what these need.
    `needed`: oids of what columns that come back need.
    """
    graph = _Graph(then, now)
    roots = [entry for entry in then if _is_meant(entry, wanted)]
    named = [entry for entry in roots if entry.kind in RELATIONS]
    needs_of_columns = [entry for entry in then if entry.oid in needed and entry.kind not in RELATIONS]
    reached = graph.relatives(roots if wanted else graph.all(Presence.MISSING), needs_of_columns)
    unfit = graph.needing_moved(reached)
    chosen = {number for number in reached if graph.presence[number] is Presence.MISSING} - unfit.keys()
    needs = {number for each in chosen for number in graph.entries[each].dependencies if number in graph.entries}
    taken = {number for number in reached | needs if graph.presence[number] is Presence.TAKEN}
    taken |= {entry.number for entry in named if graph.presence[entry.number] is Presence.TAKEN}

    def those(numbers: Iterable[int]) -> tuple[ArchiveEntry, ...]:
        return tuple(graph.entries[number] for number in sorted(numbers, key=graph.order.__getitem__))

    asked = {entry.number for entry in named}
    differing = [entry for entry in graph.entries.values() if graph.differs(entry)]
    return MissingObjects(
        entries=those(chosen),
        taken=those(taken),
        lost=() if wanted else those({e.number for e in graph.all(Presence.TAKEN) if e.kind in WITH_ROWS} - taken),
        altered=those(entry.number for entry in differing if entry.number in asked or chosen & set(entry.dependencies)),
        asked=those(
            entry.number
            for entry in graph.entries.values()
            if entry.kind == "TABLE" and graph.is_there(entry) and (entry.number in asked or not wanted)
        ),
        needed=those(number for number in needs if graph.differs(graph.entries[number])),
        moved=tuple((root, graph.current(root)) for root in named if graph.presence[root.number] is Presence.MOVED),
        unfit=tuple((graph.entries[number], graph.current(graph.entries[need])) for number, need in unfit.items()),
        others=tuple(entry for entry in graph.all(Presence.MISSING) if entry.number not in reached),
        unknown=tuple(name for name in wanted if not any(_is_meant(entry, [name]) for entry in then)),
    )


class _Graph:
    """The entries of T by number, what became of each, and what depends on what.

    A copy has the oids of its original: what has the same one is the same object, whatever it is called.
    """

    def __init__(self, then: Sequence[ArchiveEntry], now: Sequence[ArchiveEntry]) -> None:
        self._now = {entry.identity: entry for entry in now}
        self._by_oid = {(entry.kind, entry.oid): entry for entry in now if entry.oid}
        self.entries = {entry.number: entry for entry in then if _belongs(entry)}
        self.order = {number: place for place, number in enumerate(self.entries)}
        self.presence: dict[int, Presence] = {}
        for entry in sorted(self.entries.values(), key=lambda each: not each.oid):  # what hangs on others after them
            self.presence[entry.number] = self._presence(entry)
        self._dependents: dict[int, list[int]] = defaultdict(list)
        for entry in self.entries.values():
            for number in entry.dependencies:
                self._dependents[number].append(entry.number)

    def _presence(self, entry: ArchiveEntry) -> Presence:
        named = self._now.get(entry.identity)
        if not entry.oid:
            moved = any(self.presence.get(number) is Presence.MOVED for number in entry.dependencies)
            return Presence.HERE if named or moved else Presence.MISSING
        if current := self._by_oid.get((entry.kind, entry.oid)):
            return Presence.HERE if current.identity == entry.identity else Presence.MOVED
        if named is None:
            return Presence.MISSING
        as_it_was = named.definition == entry.definition and entry.kind not in WITH_ROWS
        return Presence.HERE if as_it_was else Presence.TAKEN

    def all(self, presence: Presence) -> list[ArchiveEntry]:
        """The entries of which that is so."""
        return [entry for number, entry in self.entries.items() if self.presence[number] is presence]

    def current(self, entry: ArchiveEntry) -> ArchiveEntry:
        """What an object is now that is there."""
        return self._by_oid.get((entry.kind, entry.oid)) or self._now[entry.identity]

    def is_there(self, entry: ArchiveEntry) -> bool:
        """Whether it is there as itself, under whatever name."""
        return bool(entry.oid) and (entry.kind, entry.oid) in self._by_oid

    def differs(self, entry: ArchiveEntry) -> bool:
        """Whether it is there and not as it was."""
        if self.presence[entry.number] is not Presence.HERE or not (entry.oid or entry.identity in self._now):
            return False
        return self.current(entry).definition != entry.definition

    def relatives(self, roots: Iterable[ArchiveEntry], alone: Iterable[ArchiveEntry] = ()) -> set[int]:
        """The roots that are gone, what depended on them, and what each of these needs, as far as that is gone.

        Of those in `alone` not what depended on them.

        Of needs that are no relations only their own parts; what is there as itself leads nowhere.
        """
        reached: set[int] = set()
        pending = [(root.number, True) for root in roots] + [(entry.number, False) for entry in alone]
        seen: set[tuple[int, bool]] = set()
        while pending:
            number, follows = pending.pop()
            if (number, follows) in seen or number not in self.entries:
                continue
            seen.add((number, follows))
            if self.presence[number] in GONE:
                reached.add(number)
                needs = (need for need in self.entries[number].dependencies if self._is(need, Presence.MISSING))
                pending += [(need, self.entries[need].kind in RELATIONS) for need in needs]
            dependents = (each for each in self._dependents[number] if self.presence[each] in GONE)
            pending += [(each, True) for each in dependents if follows or self._is_part(each)]
        return reached

    def needing_moved(self, reached: set[int]) -> dict[int, int]:
        """Of those that are missing, what needs something that has another name now, with that; and what needs them."""
        unfit: dict[int, int] = {}
        for number in self.entries:  # in the archive's order, so needs come first
            if number not in reached or not self._is(number, Presence.MISSING):
                continue
            for need in self.entries[number].dependencies:
                if self._is(need, Presence.MOVED):
                    unfit.setdefault(number, need)
                elif need in unfit:
                    unfit.setdefault(number, unfit[need])
        return unfit

    def _is(self, number: int, presence: Presence) -> bool:
        return self.presence.get(number) is presence

    def _is_part(self, number: int) -> bool:
        """Comments, privileges and the like belong to one object alone."""
        return self.entries[number].section is ArchiveSection.NONE


GONE = frozenset({Presence.MISSING, Presence.TAKEN})


def _belongs(entry: ArchiveEntry) -> bool:
    if entry.kind in LEFT_OUT:
        return False
    schema = entry.tag if entry.kind == "SCHEMA" else entry.schema
    return not schema.startswith(OWN_SCHEMAS)


def _is_meant(entry: ArchiveEntry, wanted: Iterable[TableName]) -> bool:
    """A relation by its name or a pattern; `schema.*` means the schema with all that is in it."""
    for name in wanted:
        if name.name == "*" and fnmatchcase(entry.tag if entry.kind == "SCHEMA" else entry.schema, name.schema_name):
            return True
        if entry.kind in RELATIONS and (
            (entry.schema, entry.tag) == name.key
            or (fnmatchcase(entry.schema, name.schema_name) and fnmatchcase(entry.tag, name.name))
        ):
            return True
    return False
