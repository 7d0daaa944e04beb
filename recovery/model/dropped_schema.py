"""A schema that pg_dump does not write into an archive because every new database has it: public."""

from __future__ import annotations

from recovery.model.values import Value


class SchemaGrant(Value):
    """`privilege` on a schema for `grantee` (None: PUBLIC), granted by its owner."""

    grantee: str | None
    privilege: str
    with_grant_option: bool


class DroppedSchema(Value):
    """As it was at T. `grants`: None where its privileges are those that every new schema has."""

    name: str
    owner: str
    comment: str | None
    grants: tuple[SchemaGrant, ...] | None

    def __str__(self) -> str:
        return f"schema {self.name}"
