"""Which objects of T are missing now, and which of them hang together with what was asked for. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from recovery.model.values import TableName
from recovery.postgres.archive.table_of_contents import ArchiveEntry, ArchiveSection

# What is not an object of the database's content, or would act by itself.
LEFT_OUT = frozenset(
    {"ENCODING", "STDSTRINGS", "SEARCHPATH", "DATABASE", "DATABASE PROPERTIES", "SUBSCRIPTION", "SUBSCRIPTION TABLE"}
)
# What is named by a table's name, and can be asked for.
RELATIONS = frozenset({"TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE", "SEQUENCE"})
OWN_SCHEMAS = ("rowback_case_", "recovered_")


@dataclass(frozen=True)
class MissingObjects:
    """What is to be made anew, in the archive's order.

    `taken`: things that were asked for and that another thing has the name of now. `altered`: those that are the same
    as then and were changed, and what lost something with the missing ones, such as a default. `renamed`: things that
    were asked for, with what they are now. `others`: missing as well, and not asked for. `unknown`: names that were not
    there at T.
    """

    entries: tuple[ArchiveEntry, ...]
    taken: tuple[ArchiveEntry, ...]
    altered: tuple[ArchiveEntry, ...]
    renamed: tuple[tuple[ArchiveEntry, ArchiveEntry], ...]
    others: tuple[ArchiveEntry, ...]
    unknown: tuple[TableName, ...]

    @property
    def tables(self) -> tuple[TableName, ...]:
        """The tables among them, partitioned ones too."""
        return tuple(_name(entry) for entry in self.entries if entry.kind == "TABLE")


def missing_objects(
    then: Sequence[ArchiveEntry], now: Sequence[ArchiveEntry], wanted: Sequence[TableName]
) -> MissingObjects:
    """Compare two archives of one database. `wanted`: names or patterns of relations; none: everything missing.

    With a relation comes what depended on it and is missing, since CASCADE takes that along, and what these need.
    """
    graph = _Graph(then, now)
    roots = [entry for entry in then if _is_meant(entry, wanted)]
    chosen = graph.with_relatives(roots) if wanted else set(graph.missing)
    entries = tuple(entry for entry in then if entry.number in chosen)
    return MissingObjects(
        entries=entries,
        taken=tuple(root for root in roots if graph.differs(root) and not graph.is_same(root)),
        altered=tuple(
            entry
            for entry in then
            if (entry in roots or chosen & set(entry.dependencies)) and graph.differs(entry) and graph.is_same(entry)
        ),
        renamed=tuple((root, current) for root in roots if (current := graph.new_name(root))),
        others=tuple(entry for number, entry in graph.missing.items() if number not in chosen),
        unknown=tuple(name for name in wanted if not any(_is_meant(entry, [name]) for entry in then)),
    )


class _Graph:
    """The entries of T by number, those of them that are missing, and what depends on what."""

    def __init__(self, then: Sequence[ArchiveEntry], now: Sequence[ArchiveEntry]) -> None:
        self._now: Mapping[tuple[str, str, str], ArchiveEntry] = {entry.identity: entry for entry in now}
        self._by_oid = {(entry.kind, entry.oid): entry for entry in now if entry.oid}
        left_out = {entry.number for entry in then if not _belongs(entry) or self.new_name(entry)}
        self.missing = {
            entry.number: entry
            for entry in then
            if entry.number not in left_out
            and not (left_out & set(entry.dependencies) and entry.section is ArchiveSection.NONE)
            and entry.identity not in self._now
        }
        self._dependents: dict[int, list[int]] = defaultdict(list)
        for entry in self.missing.values():
            for number in entry.dependencies:
                self._dependents[number].append(entry.number)

    def new_name(self, entry: ArchiveEntry) -> ArchiveEntry | None:
        """What it is now, where it was renamed or moved since: the same oid under another name."""
        current = self._by_oid.get((entry.kind, entry.oid))
        return None if current is None or current.identity == entry.identity else current

    def differs(self, entry: ArchiveEntry) -> bool:
        """Whether something of its name is there now that is not as it was."""
        current = self._now.get(entry.identity)
        return current is not None and current.definition != entry.definition

    def is_same(self, entry: ArchiveEntry) -> bool:
        """Whether what has its name now is the same object: a copy has the oids of its original."""
        current = self._now.get(entry.identity)
        return current is not None and current.oid == entry.oid

    def with_relatives(self, roots: Iterable[ArchiveEntry]) -> set[int]:
        """What depended on the roots, and what each of them needs; of needs that are no relations only their own."""
        chosen: set[int] = set()
        pending = [(root.number, True) for root in roots]
        seen: set[tuple[int, bool]] = set()
        while pending:
            number, follows = pending.pop()
            if (number, follows) in seen:
                continue
            seen.add((number, follows))
            if entry := self.missing.get(number):
                chosen.add(number)
                pending += [(need, self._is_relation(need)) for need in entry.dependencies if need in self.missing]
            pending += [(each, True) for each in self._dependents[number] if follows or self._is_part(each)]
        return chosen

    def _is_relation(self, number: int) -> bool:
        return self.missing[number].kind in RELATIONS

    def _is_part(self, number: int) -> bool:
        """Comments, privileges and the like belong to one object alone."""
        return self.missing[number].section is ArchiveSection.NONE


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


def _name(entry: ArchiveEntry) -> TableName:
    return TableName(schema_name=entry.schema, name=entry.tag)
