"""Objects of a catalog as pg_dump names them."""

from __future__ import annotations

from recovery.model.values import Value


class CatalogObject(Value):
    """One object of an archive: `number` there, and pg_dump's own words for it."""

    number: int
    kind: str
    schema_name: str
    tag: str

    def __str__(self) -> str:
        return f"{self.kind.lower()} {self.schema_name}.{self.tag}" if self.schema_name else f"{self.kind} {self.tag}"
