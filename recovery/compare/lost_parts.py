"""What a table that is there lost since T: columns, defaults, checks. Pure, but for whether a key was one at T."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from recovery.model.catalog import Catalog, Table
from recovery.model.table_parts import CheckPart, ColumnPart, KeyColumn, LostParts, TableParts
from recovery.model.values import TableName
from recovery.postgres.connect import Session
from recovery.postgres.read_table_parts import heirs, identifies, read_table_parts

AS_IT_IS = "it is there, and its columns, defaults or checks are not as they were at T: they are left as they are"


@dataclass
class PartComparison:
    """Tables that lost parts; columns whose names others have; tables that changed otherwise; what to know of these.

    `unknown`: tables whose columns cannot come back, because nothing tells which row is which.
    """

    lost: list[LostParts] = field(default_factory=list)
    taken: list[tuple[TableName, str]] = field(default_factory=list)
    unknown: list[tuple[TableName, str]] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class TwoCatalogs:
    """Two databases, the original now and its copy, with what their catalogs say."""

    original: Session
    copy: Session
    now: Catalog
    then: Catalog


@dataclass(frozen=True)
class PartQuestion:
    """Which parts are wanted of which tables, by oid.

    `tables`: oid → oids of what is made anew, of which a part has to need one; None: all parts of that table. `judged`:
    tables of which it is said when they differ otherwise; of others only where they lost something. `made`: schema,
    table and column of defaults that are made anew as objects of their own.
    """

    tables: Mapping[int, Collection[int] | None]
    judged: Collection[int]
    made: Collection[str]


def compare_parts(sides: TwoCatalogs, question: PartQuestion) -> PartComparison:
    """The lost parts of tables that are there."""
    tables = question.tables
    tables = {**{heir: tables[parent] for heir, parent in heirs(sides.original, tables).items()}, **tables}
    now = read_table_parts(sides.original, tables)
    result = PartComparison()
    for oid, then in sorted(read_table_parts(sides.copy, tables).items(), key=lambda item: item[1].name.key):
        if current := now.get(oid):
            _compare(sides, _OneTable(then, current, tables[oid], question), result)
    lost = {each.table for each in result.lost}
    by_root = {leaf for each in result.lost if each.partitioned for leaf in each.leaves} - lost
    result.lost = [each for each in result.lost if each.table not in by_root]
    return result


@dataclass(frozen=True)
class _OneTable:
    then: TableParts
    now: TableParts
    needed: Collection[int] | None
    question: PartQuestion

    def is_wanted(self, part: ColumnPart | CheckPart) -> bool:
        return self.needed is None or bool(set(part.needs) & set(self.needed))

    @property
    def gone(self) -> list[ColumnPart]:
        numbers = {column.number for column in self.now.columns}
        return [column for column in self.then.columns if column.number not in numbers and self.is_wanted(column)]


def _compare(sides: TwoCatalogs, table: _OneTable, result: PartComparison) -> None:
    names = {column.name for column in table.now.columns}
    taken = [column for column in table.gone if column.name in names]
    result.taken += [(table.now.name, f"COLUMN {table.now.name}.{column.name}") for column in taken]
    columns = tuple(column for column in table.gone if column not in taken)
    lost = LostParts(
        table=table.now.name,
        oid=table.now.oid,
        owner=table.now.owner,
        at_target=table.then.name,
        columns=columns,
        defaults=tuple(_defaults(table)),
        checks=tuple(_checks(table, {column.number for column in columns})),
    )
    if lost.stored:
        lost = _identified(sides, table, lost)
        if not lost.key and not lost.same_file:
            text = (
                f"{lost.table}: no key tells its rows apart, and it was rewritten since T, so the values of"
                f" {', '.join(column.name for column in lost.columns)} cannot come back to their rows"
            )
            result.unknown.append((lost.table, text))
            lost = lost.model_copy(update={"columns": (), "checks": ()})
    if lost.count:
        result.lost.append(lost)
        result.notices += _positions(table, lost.columns)
    if _differs(table) and (table.now.oid in table.question.judged or lost.count):
        result.differing.append(f"{table.now.name}: {AS_IT_IS}")


def _identified(sides: TwoCatalogs, table: _OneTable, lost: LostParts) -> LostParts:
    """With the key that tells its rows apart, and the tables that hold them."""
    root = next((each for each in sides.now.partitioned if each.name == lost.table), None)
    leaves = root.leaves if root else (lost.table,)
    held = next((held for leaf in leaves if (held := sides.now.table(leaf))), None)
    key = root.key if root else held.key if held else ()
    key_columns = list(_key_columns(table, key, held))
    if len(key_columns) < len(key) or not _identifies(sides, table.then, [column.at_target for column in key_columns]):
        key_columns = []
    return lost.model_copy(
        update={
            "key": tuple(key_columns),
            "leaves": leaves,
            "partitioned": root is not None,
            "same_file": not root and bool(held and _file_at_target(sides, held.oid) == held.file_node),
        }
    )


def _key_columns(table: _OneTable, key: Sequence[str], held: Table | None) -> Iterator[KeyColumn]:
    """Those of them that were there at T and never null."""
    at_target = {column.number: column for column in table.then.columns}
    equality = {column.name: column.equality for column in held.columns} if held else {}
    for column in table.now.columns:
        then = at_target.get(column.number)
        if column.name in key and then and then.not_null and column.name in equality:
            yield KeyColumn(
                now=column.name, at_target=then.name, type_name=column.type_name, equality=equality[column.name]
            )


def _identifies(sides: TwoCatalogs, table: TableParts, names: Sequence[str]) -> bool:
    """Whether the columns tell the rows at T apart: its own key does, of others the rows are asked."""
    root = next((each.key for each in sides.then.partitioned if each.name == table.name), ())
    own = next((each.key for each in sides.then.tables if each.oid == table.oid), root)
    return bool(names) and (set(own) == set(names) or identifies(sides.copy, table.name, names))


def _file_at_target(sides: TwoCatalogs, oid: int) -> int | None:
    return next((table.file_node for table in sides.then.tables if table.oid == oid), None)


def _defaults(table: _OneTable) -> Iterator[ColumnPart]:
    now = {column.number: column for column in table.now.columns}
    for column in table.then.columns:
        current = now.get(column.number)
        if not current or column.default is None or column.generated or column.inherited:
            continue
        name = f"{table.then.name.schema_name} {table.then.name.name} {column.name}"
        if (
            current.default is None
            and not current.identity
            and name not in table.question.made
            and table.is_wanted(column)
        ):
            yield column.model_copy(update={"name": current.name})


def _checks(table: _OneTable, gone: Collection[int]) -> Iterator[CheckPart]:
    """Those that are missing. `gone`: numbers of columns that come back, with the checks about them."""
    now = {check.name for check in table.now.checks}
    definitions = {check.definition for check in table.now.checks}
    for check in table.then.checks:
        lost = check.name not in now and check.definition not in definitions and not check.inherited
        if lost and (table.is_wanted(check) or set(check.columns) & set(gone)):
            yield check


def _differs(table: _OneTable) -> bool:
    """Whether something that is there at sides times is another: what is new since T takes nothing away."""
    now = {column.number: column for column in table.now.columns}
    checks = {check.name: check.definition for check in table.now.checks}
    return (
        table.then.facts != table.now.facts
        or any(column.number in now and _is_other(column, now[column.number]) for column in table.then.columns)
        or any(checks.get(check.name, check.definition) != check.definition for check in table.then.checks)
    )


def _is_other(then: ColumnPart, now: ColumnPart) -> bool:
    ignored: dict[str, object] = {"needs": (), "inherited": False, "not_null_name": None, "default": None}
    changed_default = now.default is not None and now.default != then.default
    same = then.model_copy(update={**ignored, "identity": now.identity or then.identity})
    return changed_default or same != now.model_copy(update={**ignored, "identity": now.identity or then.identity})


def _positions(table: _OneTable, columns: Sequence[ColumnPart]) -> Iterator[str]:
    places = [column.number for column in table.then.columns]
    for column in columns:
        place = places.index(column.number) + 1
        if place <= len(table.now.columns):
            yield (
                f"column {table.now.name}.{column.name} was number {place} and becomes the last one: statements that"
                " name no columns see another order"
            )
