"""Find what cases left in a database, and remove what no open case needs."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from recovery.postgres.before_images import LeftSchema, drop_schema, left_schemas
from recovery.postgres.connect import Session
from recovery.store.case_directory import Case, all_cases
from recovery.store.change_set_files import sweep_changes
from recovery.store.journal import is_driven


@dataclass(frozen=True)
class Leftover:
    """A schema with its age. `needed`: why it must not go; `kept`: why it does not go unless it is named; or empty."""

    schema: LeftSchema
    age: timedelta
    needed: str
    kept: str


def leftovers(original: Session) -> list[Leftover]:
    """Every schema that cases left in this database."""
    cases = {case.id: case for case in all_cases()}
    return [
        Leftover(
            schema, _age(schema.case), _need(schema, cases.get(schema.case)), _doubt(schema, cases.get(schema.case))
        )
        for schema in left_schemas(original)
    ]


def clean(
    original: Session, *, named: Collection[str], older_than: timedelta | None
) -> Iterator[tuple[LeftSchema, str]]:
    """Remove the schemas of the cases `named`, and those older than `older_than` that nothing speaks for.

    Each schema with what was done about it. What is needed is kept even where it is named.
    """
    for case in all_cases():
        if case.closed_at is not None and not is_driven(case.directory):
            sweep_changes(case)
    for left in leftovers(original):
        requested = left.schema.case in named
        if left.needed or (left.kept and not requested):
            yield left.schema, f"kept: {left.needed or left.kept}"
        elif not requested and (older_than is None or left.age < older_than):
            yield left.schema, "kept: younger than that" if older_than is not None else "kept: not named"
        else:
            drop_schema(original, left.schema)
            yield left.schema, "removed"


def _need(schema: LeftSchema, case: Case | None) -> str:
    if case is not None and case.closed_at is None:
        return f"case {case.id} is open and may be undone: rowback close {case.id}"
    if schema.statements:
        return f"its comment is what builds dropped indexes: select obj_description('{schema.name}'::regnamespace)"
    return ""


def _doubt(schema: LeftSchema, case: Case | None) -> str:
    if not schema.owned:
        return "another role owns it"
    if schema.beside:
        return f"tables loaded beside may be in use: --case {schema.case} removes them"
    if case is None:
        return f"its case is not on this machine: --case {schema.case} removes it"
    return ""


def _age(case: str) -> timedelta:
    begun = datetime.strptime(case[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    return datetime.now(UTC) - begun
