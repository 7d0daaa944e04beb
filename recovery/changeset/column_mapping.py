"""Which column at T is which column now, when the schema changed in between. Pure.

A physical copy shares table oids and column numbers with the original, so a rename is recognized by them, not guessed.
What keeps every value is mapped and reported; what might not is an objection, or a question to the rows at T.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from recovery.model.catalog import Catalog, Column, Table
from recovery.postgres.comparison.table_scan import Field

INTEGERS = ("smallint", "integer", "bigint")
LENGTH = re.compile(r"character varying(?:\((\d+)\))?$")
PRECISION = re.compile(r"numeric(?:\((\d+),(\d+)\))?$")


@dataclass(frozen=True)
class ColumnMapping:
    """One table at T and now.

    `then` and `now` list the same columns in the same order; `key` are positions in them. `added`, `dropped`: columns
    since T that take no part. `retyped`: places of columns whose type changed, `recast` those of them whose new type
    might not hold every value: the rows at T say (postgres/staging/column_casts.py).
    """

    at_target: Table
    original: Table
    then: tuple[Field, ...]
    now: tuple[Field, ...]
    key: tuple[int, ...]
    notes: tuple[str, ...]
    objections: tuple[str, ...]
    added: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    retyped: tuple[int, ...] = ()
    recast: tuple[int, ...] = ()
    types: tuple[tuple[str, str], ...] = ()

    @property
    def alike(self) -> bool:
        """Whether the rows at T fit as they are, by the same names and types."""
        return not self.notes and not self.objections

    @property
    def columns(self) -> tuple[str, ...]:
        """The compared columns by the original's names."""
        return tuple(field.name for field in self.now)

    def types_of(self, place: int) -> str:
        """The type of a column at T and now, for people."""
        return " → ".join(self.types[place])


def map_table(at_target: Table, original: Table) -> ColumnMapping:
    """Match the columns of a table at T to its columns now."""
    sources, dropped = _sources(at_target, original)
    added = [column for column in original.columns if sources[column.name] is None]
    pairs = [(source, column) for column in original.columns if (source := sources[column.name])]
    # What the server computes is not compared, unless rows are found by it.
    compared = [(source, column) for source, column in pairs if not column.generated or column.name in original.key]
    notes = [f"column {c.name} was added since T: {_value_of_added(c)}" for c in added]
    objections = ["it was unlogged at T, so no backup holds its rows"] if at_target.unlogged else []
    for source, column in pairs:
        notes += _changed(source, column)
    retyped = [i for i, (source, column) in enumerate(compared) if not same_values(source, column)]
    for source, column in (compared[i] for i in retyped):
        notes.append(f"column {column.name} was {source.type_name}, is {column.type_name}")
    for source, column in compared:
        notes += [
            f"column {column.name}: label '{old}' of {column.value_type} is called '{new}' now"
            for old, new in renamed_labels(source, column)
        ]
        notes += [
            f"column {column.name}: {column.value_type} has no label '{label}' now"
            for label in _labels_gone(source, column)
        ]
    dropped_names = tuple(c.name for c in dropped if not c.generated)
    notes += [f"column {name} was dropped since T: its values stay behind" for name in dropped_names]
    names = [column.name for _, column in compared]
    if missing := [name for name in original.key if name not in names]:
        objections.append(f"its key column {missing[0]} did not exist at T")
    key = tuple(names.index(name) for name in original.key if name in names)
    unmapped = tuple(column.name for column in added if not column.generated)
    then = tuple(
        Field(source.name, column, _cast(source, column), renamed_labels(source, column)) for source, column in compared
    )
    now = tuple(Field(column.name, column) for _, column in compared)
    recast = [i for i in retyped if not widens(compared[i][0].value_type, compared[i][1].value_type)]
    types = tuple((source.type_name, column.type_name) for source, column in compared)
    return ColumnMapping(
        at_target,
        original,
        then,
        now,
        key,
        tuple(notes),
        tuple(objections),
        unmapped,
        dropped_names,
        tuple(retyped),
        tuple(recast),
        types,
    )


def same_table_at(then: Catalog, original: Table, now: Catalog) -> Table | None:
    """The table at T that `original` is: by oid, which survives a rename; by name where it was made anew since.

    A table that goes by another name now (swapped for a new one) is that one, and none by its old name.
    """
    by_oid = next((table for table in then.tables if table.oid == original.oid), None)
    by_name = then.table(original.name)
    renamed = by_name and any(table.oid == by_name.oid for table in now.tables)
    return by_oid or (None if renamed else by_name)


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
        return int(old[2]) <= int(new[2]) and int(old[1]) - int(old[2]) <= int(new[1]) - int(new[2])
    return False


def _sources(at_target: Table, original: Table) -> tuple[dict[str, Column | None], list[Column]]:
    """For each column now the one at T that it is, and those at T that none is."""
    same_table = at_target.oid == original.oid
    unmatched = {(c.number if same_table else c.name): c for c in at_target.columns}
    sources = {
        column.name: unmatched.pop(column.number if same_table else column.name, None) for column in original.columns
    }
    by_name = {column.name: column for column in unmatched.values()}
    for name in [name for name, source in sources.items() if source is None]:
        # dropped and made anew under the same name: the online way of changing a type
        sources[name] = by_name.pop(name, None)
    return sources, list(by_name.values())


def same_values(source: Column, column: Column) -> bool:
    """Whether every value at T is a value now as it is: a domain adds rules, which are asked row by row, not values."""
    same_type = source.type_oid == column.type_oid and bool(column.labels)  # an enum may be called otherwise now
    return same_type or source.value_type == column.value_type


def renamed_labels(source: Column, column: Column) -> tuple[tuple[str, str], ...]:
    """(label at T, label now) of an enum's renamed labels: the same pg_enum entry, which a copy shares.

    In a type that was made anew no place among the others proves anything; the server refuses rows with labels that it
    lacks.
    """
    now = dict(column.labels)
    return tuple((label, now[oid]) for oid, label in source.labels if oid in now and now[oid] != label)


def _labels_gone(source: Column, column: Column) -> list[str]:
    renamed = dict(renamed_labels(source, column))
    now = {label for _, label in column.labels}
    return [label for _, label in source.labels if column.labels and renamed.get(label, label) not in now]


def _cast(source: Column, column: Column) -> str | None:
    return None if same_values(source, column) else column.value_type


def _changed(source: Column, column: Column) -> Iterator[str]:
    if source.generated != column.generated:
        yield f"column {column.name} is {'generated' if column.generated else 'a plain column'} now"
    if source.name != column.name:
        yield f"column {source.name} is called {column.name} now"


def _value_of_added(column: Column) -> str:
    if column.generated or column.identity:
        return "the server fills it"
    return "rows put back get its default" if column.has_default else "rows put back hold null there"
