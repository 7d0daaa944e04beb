"""Which column at T is which column now, when the schema changed in between. Pure.

A physical copy shares table oids and column numbers with the original, so a rename is recognized by them, not guessed.
What keeps every value is mapped and told; what might not is an objection.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from recovery.model.catalog import Catalog, Column, Table
from recovery.postgres.repair.scan import Field

INTEGERS = ("smallint", "integer", "bigint")
LENGTH = re.compile(r"character varying(?:\((\d+)\))?$")
PRECISION = re.compile(r"numeric(?:\((\d+),(\d+)\))?$")


@dataclass(frozen=True)
class Mapping:
    """One table at T and now. `then` and `now` list the same columns in the same order; `key` are positions in them."""

    at_target: Table
    live: Table
    then: tuple[Field, ...]
    now: tuple[Field, ...]
    key: tuple[int, ...]
    notes: tuple[str, ...]
    objections: tuple[str, ...]
    added: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The compared columns by the original's names."""
        return tuple(field.name for field in self.now)


def map_table(at_target: Table, live: Table) -> Mapping:
    """Match the columns of a table at T to its columns now."""
    same_table = at_target.oid == live.oid
    by = {(c.number if same_table else c.name): c for c in at_target.columns}
    then: list[Field] = []
    now: list[Field] = []
    notes: list[str] = []
    objections: list[str] = []
    added = []
    found = {column.name: by.pop(column.number if same_table else column.name, None) for column in live.columns}
    by_name = {column.name: column for column in by.values()}
    for column in live.columns:
        # dropped and made anew under the same name: the online way of changing a type
        source = found[column.name] or by_name.pop(column.name, None)
        if source is None:
            added.append(column)
            notes.append(f"column {column.name} was added since T: {_value_of_added(column)}")
            continue
        if column.generated and column.name not in live.key:
            continue
        if source.name != column.name:
            notes.append(f"column {source.name} is called {column.name} now")
        retyped = source.type_name != column.type_name
        if retyped:
            told = notes if widens(source.type_name, column.type_name) else objections
            told.append(f"column {column.name} was {source.type_name}, is {column.type_name}")
        then.append(Field(source.name, column, column.type_name if retyped else None))
        now.append(Field(column.name, column))
    notes += [
        f"column {c.name} was dropped since T: its values stay behind" for c in by_name.values() if not c.generated
    ]
    if at_target.unlogged:
        objections.append("it was unlogged at T, so no backup holds its rows")
    names = [field.name for field in now]
    if missing := [name for name in live.key if name not in names]:
        objections.append(f"its key column {missing[0]} did not exist at T")
    key = tuple(names.index(name) for name in live.key if name in names)
    kept = tuple(column.name for column in added if not column.generated)
    return Mapping(at_target, live, tuple(then), tuple(now), key, tuple(notes), tuple(objections), kept)


def same_table_at(then: Catalog, live: Table) -> Table | None:
    """The table at T that `live` is: by oid, which survives a rename; by name in a database that was loaded anew."""
    return next((t for t in then.tables if t.oid == live.oid), None) or then.table(live.name)


def widens(then: str, now: str) -> bool:
    """Whether every value of type `then` is the same value in type `now`."""
    if then in INTEGERS and now in INTEGERS:
        return INTEGERS.index(then) <= INTEGERS.index(now)
    if now == "text":
        return bool(LENGTH.match(then))
    if (old := LENGTH.match(then)) and (new := LENGTH.match(now)):
        return new[1] is None or (old[1] is not None and int(old[1]) <= int(new[1]))
    if now == "numeric":
        return then in INTEGERS or bool(PRECISION.match(then))
    if (old := PRECISION.match(then)) and (new := PRECISION.match(now)) and old[1]:
        # A larger scale prints 1.5 as 1.50: another text, so only a larger precision keeps the value exactly.
        return old[2] == new[2] and int(old[1]) <= int(new[1])
    return False


def _value_of_added(column: Column) -> str:
    if column.generated or column.identity:
        return "the server fills it"
    return "rows put back get its default" if column.has_default else "rows put back hold null there"
