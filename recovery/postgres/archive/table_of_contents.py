"""The table of contents of a pg_dump archive in directory format, entry by entry, as pg_dump wrote it.

`pg_restore --list` prints the same without definitions and dependencies, and names in it are not quoted. The layout is
that of pg_backup_archiver.c (WriteToc), versions 1.14 (PostgreSQL 12) to 1.16 (17 and 18).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from io import BytesIO
from pathlib import Path

from recovery.model.values import TableName

FILE = "toc.dat"
MAGIC = b"PGDMP"
DIRECTORY = 3  # archTar, which is what pg_dump calls the contents of a directory
OLDEST, WITH_ALGORITHM, WITH_RELKIND, NEWEST = (1, 14), (1, 15), (1, 16), (1, 16)
DATE_FIELDS = 7


class ArchiveSection(IntEnum):
    """When an entry is restored (pg_backup.h, teSection). Comments and privileges have none of their own."""

    NONE = 1
    PRE_DATA = 2
    DATA = 3
    POST_DATA = 4


@dataclass(frozen=True)
class ArchiveEntry:
    """One object. `kind`, `schema`, `tag`: pg_dump's own words for it; `dependencies`: numbers of other entries.

    `oid`: in the database that was dumped, 0 where it is no object of its own. `drop`: the statement that removes it.
    """

    number: int
    oid: int
    kind: str
    schema: str
    tag: str
    section: ArchiveSection
    definition: str
    drop: str
    owner: str
    tablespace: str
    dependencies: tuple[int, ...]

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """What tells it from all others of a database, in every archive of it.

        Tags alone do not: an operator's is its bare name, a trigger's its table's name and its own with a space. The
        statement that removes it names it in full; default privileges belong to a role.
        """
        return self.kind, self.schema, self.tag, self.owner if self.kind == "DEFAULT ACL" else self.drop

    @property
    def name(self) -> TableName:
        """Of a relation."""
        return TableName(schema_name=self.schema, name=self.tag)

    def __str__(self) -> str:
        return f"{self.kind} {self.schema}.{self.tag}" if self.schema else f"{self.kind} {self.tag}"


class UnreadableArchiveError(ValueError):
    """It is no archive of a version that is known here, or it ends too early."""


def read_contents(directory: Path) -> list[ArchiveEntry]:
    """Every entry of the archive, in the order of its restore. Raises UnreadableArchiveError."""
    content = (directory / FILE).read_bytes()
    return list(_entries(content))


@lru_cache(maxsize=4)  # the steps of a case read the same two or three archives a dozen times
def _entries(content: bytes) -> tuple[ArchiveEntry, ...]:
    return tuple(_Reader(content).entries())


class _Reader:
    def __init__(self, content: bytes) -> None:
        self._content = BytesIO(content)
        if self._bytes(len(MAGIC)) != MAGIC:
            raise UnreadableArchiveError("it does not begin as an archive of pg_dump does")
        major, minor, _ = self._bytes(3)
        self._version = (major, minor)
        if not OLDEST <= self._version <= NEWEST:
            raise UnreadableArchiveError(f"archives of version {major}.{minor} are not known here")
        self._int_size, _, form = self._bytes(3)
        if form != DIRECTORY:
            raise UnreadableArchiveError("it is not in directory format")

    def entries(self) -> list[ArchiveEntry]:
        """All of them. Raises UnreadableArchiveError."""
        self._bytes(1) if self._version >= WITH_ALGORITHM else self._int()
        for _ in range(DATE_FIELDS):
            self._int()
        for _ in range(3):  # database, server's version, pg_dump's version
            self._text()
        entries = [self._entry() for _ in range(self._int())]
        if self._content.read(1):
            raise UnreadableArchiveError("it goes on behind its last entry")
        return entries

    def _entry(self) -> ArchiveEntry:
        number, _ = self._int(), self._int()
        _, oid, tag, kind = (self._text() for _ in range(4))
        section = ArchiveSection(self._int())
        definition, drop, _, schema, tablespace, _ = (self._text() for _ in range(6))
        if self._version >= WITH_RELKIND:
            self._int()
        owner, _ = self._text(), self._text()
        dependencies = []
        while (text := self._text_or_none()) is not None:
            dependencies.append(int(text))
        self._text()  # the file of its rows
        return ArchiveEntry(
            number, int(oid), kind, schema, tag, section, definition, drop, owner, tablespace, tuple(dependencies)
        )

    def _bytes(self, size: int) -> bytes:
        content = self._content.read(size)
        if len(content) != size:
            raise UnreadableArchiveError("it ends in the middle of an entry")
        return content

    def _int(self) -> int:
        sign, *digits = self._bytes(1 + self._int_size)
        value = int.from_bytes(bytes(digits), "little")
        return -value if sign else value

    def _text_or_none(self) -> str | None:
        size = self._int()
        return None if size < 0 else self._bytes(size).decode("utf-8", "surrogateescape")

    def _text(self) -> str:
        return self._text_or_none() or ""
