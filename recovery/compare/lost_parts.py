"""What tables that are there lost since T: columns, defaults, checks; and what tells to which rows values belong."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from recovery.model.catalog import Catalog, Table
from recovery.model.table_parts import CheckPart, ColumnPart, Filling, KeyColumn, LostParts, TableParts
from recovery.model.values import TableName
from recovery.postgres.connect import Session
from recovery.postgres.read_table_parts import columns_needed_by, heirs, identifies, read_table_parts

AS_IT_IS = "it is there, and its columns, defaults or checks are not as they were at T: they are left as they are"

MADE_AGAIN = "was dropped and made again since T, without its values: see them beside, or drop the new one"


@dataclass
class PartComparison:
    """Tables that lost parts; columns whose names others have; tables that changed otherwise; what to know of these.

    `unknown`: tables whose columns cannot come back. `needs`: oids of what the lost parts depend on.
    """

    lost: list[LostParts] = field(default_factory=list)
    taken: list[tuple[TableName, str]] = field(default_factory=list)
    unknown: list[tuple[TableName, str]] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    needs: set[int] = field(default_factory=set)


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

    `whole`: tables of which everything is; of others what needs one of the objects `made`, or is needed by one.
    `judged`: tables of which it is said when they differ otherwise; of others only where they lost something.
    `defaults`: schema, table and column of defaults that are made anew as objects of their own. `given_back`: (table,
    column) that earlier cases gave back.
    """

    whole: Collection[int]
    made: Collection[int]
    judged: Collection[int]
    defaults: Collection[str]
    given_back: Collection[tuple[int, str]] = ()


def compare_parts(sides: TwoCatalogs, question: PartQuestion) -> PartComparison:
    """The lost parts of tables that are there, parents before what inherits from them."""
    needed = columns_needed_by(sides.copy, question.made)
    oids = {*question.whole, *question.judged, *(oid for oid, _ in needed)}
    oids |= heirs(sides.original, oids).keys()
    now, then = read_table_parts(sides.original, oids), read_table_parts(sides.copy, oids)
    result, lost = PartComparison(), dict[int, LostParts]()
    for oid in _parents_first(now):
        table = _OneTable(now[oid], then.get(oid), question, needed, [lost[p] for p in now[oid].parents if p in lost])
        each = table.of_parents() if table.then is None else _compare(sides, table, result)
        if each and (each.columns or each.count):
            lost[oid] = each
    result.lost = list(lost.values())
    result.needs = {oid for each in result.lost for part in (*each.columns, *each.defaults) for oid in part.needs}
    result.needs |= {oid for each in result.lost for check in each.checks for oid in check.needs}
    return result


def _parents_first(tables: Mapping[int, TableParts]) -> list[int]:
    order: dict[int, None] = {}
    pending = sorted(tables, key=lambda oid: tables[oid].name.key)
    while pending:
        ready = [oid for oid in pending if not set(tables[oid].parents) & set(pending)]
        order.update(dict.fromkeys(ready))
        pending = [oid for oid in pending if oid not in order]
    return list(order)


@dataclass(frozen=True)
class _OneTable:
    """`parents`: what its parents of today get back."""

    now: TableParts
    then: TableParts | None
    question: PartQuestion
    needed: Collection[tuple[int, int]]
    parents: Sequence[LostParts]

    def is_wanted(self, part: ColumnPart | CheckPart) -> bool:
        if self.now.oid in self.question.whole or set(part.needs) & set(self.question.made):
            return True
        return isinstance(part, ColumnPart) and ((self.now.oid, part.number) in self.needed or self.comes(part.name))

    def comes(self, name: str) -> bool:
        """Whether a parent brings a column of that name."""
        return any(column.name == name for parent in self.parents for column in parent.columns)

    @property
    def renamed(self) -> set[int]:
        """Numbers of columns that have another name now."""
        then = self.then.by_number if self.then else {}
        return {column.number for column in self.now.columns if column.name != then.get(column.number, column).name}

    def of_parents(self) -> LostParts:
        """What a table that was made since T gets with its parents."""
        columns = {column.name: column for parent in self.parents for column in parent.columns}
        return LostParts(
            table=self.now.name,
            oid=self.now.oid,
            owner=self.now.owner,
            at_target=self.now.name,
            columns=tuple(column.model_copy(update={"inherited": True}) for column in columns.values()),
            filling=Filling.BY_ROOT if self.now.is_partition else Filling.AS_NEW,
            leaves=(self.now.name,),
        )


def _compare(sides: TwoCatalogs, table: _OneTable, result: PartComparison) -> LostParts:
    assert table.then
    columns = tuple(_columns(table, result))
    lost = LostParts(
        table=table.now.name,
        oid=table.now.oid,
        owner=table.now.owner,
        at_target=table.then.name,
        columns=columns,
        defaults=tuple(_defaults(table)),
        checks=tuple(_checks(table, {column.number for column in columns}, result)),
    )
    if lost.stored:
        lost = _identified(sides, table, lost)
        if why := _why_not(table, lost):
            result.unknown.append((lost.table, why))
            gone = {column.number for column in lost.columns}
            kept = tuple(check for check in lost.checks if not set(check.columns) & gone)
            lost = lost.model_copy(update={"columns": (), "checks": kept})
    if lost.count:
        result.notices += _positions(table.then, table.now, lost.columns)
    if _differs(table) and (table.now.oid in table.question.judged or lost.count):
        result.differing.append(f"{table.now.name}: {AS_IT_IS}")
    return lost


def _columns(table: _OneTable, result: PartComparison) -> Iterator[ColumnPart]:
    """Those that are gone and can come back by their names."""
    assert table.then
    names = {column.name: column for column in table.now.columns}
    numbers = table.now.by_number
    for column in table.then.columns:
        if column.number in numbers or not table.is_wanted(column):
            continue
        other, label = names.get(column.name), f"COLUMN {table.now.name}.{column.name}"
        if other and (table.now.oid, column.name) in table.question.given_back:
            result.notices.append(f"{label} was given back by an earlier case: it is not compared again")
        elif other and other.definition == column.definition:
            result.differing.append(f"{table.now.name}: column {column.name} {MADE_AGAIN}")
        elif other and table.now.oid in table.question.judged:
            result.taken.append((table.now.name, label))
        elif other:
            result.differing.append(f"{table.now.name}: column {column.name} was dropped, and another one has its name")
        elif set(column.uses) & table.renamed:
            result.differing.append(_names_renamed(table.now.name, f"column {column.name}"))
        else:
            yield column.model_copy(update={"inherited": table.comes(column.name)})


def _names_renamed(table: TableName, label: str) -> str:
    return f"{table}: {label} is left away: its expression names columns that were renamed since"


def _why_not(table: _OneTable, lost: LostParts) -> str:
    """Why values cannot come back; empty where they can."""
    assert table.then
    names = ", ".join(column.name for column in lost.columns)
    if table.now.is_unlogged or table.then.is_unlogged:
        return f"{lost.table}: it is unlogged, so no backup holds the values of {names}"
    if table.now.is_partition and not all(column.inherited for column in lost.columns):
        return f"{lost.table}: it is a partition, and gets {names} with the table that it is one of, or not at all"
    if lost.filling is Filling.BY_PLACE and not lost.file_node:
        how = "no primary key of both times" if lost.partitioned else "no key of both times"
        rewritten = "" if lost.partitioned else ", and it was rewritten since T"
        return f"{lost.table}: {how} tells its rows apart{rewritten}, so {names} cannot come back to them"
    return ""


def _identified(sides: TwoCatalogs, table: _OneTable, lost: LostParts) -> LostParts:
    """With the key that tells its rows apart, and the tables that hold them."""
    assert table.then
    root = next((each for each in sides.now.partitioned if each.name == lost.table), None)
    leaves = root.leaves if root else (lost.table,)
    held = next((held for leaf in leaves if (held := sides.now.table(leaf))), None)
    key = root.key if root else held.key if held else ()
    key_columns = list(_key_columns(table, key, held))
    if len(key_columns) < len(key) or not _identifies(sides, table.then, [column.at_target for column in key_columns]):
        key_columns = []
    filling = Filling.BY_KEY if key_columns else Filling.BY_PLACE
    if table.now.is_partition and all(column.inherited for column in lost.columns):
        filling = Filling.BY_ROOT
    same_file = not root and table.then.file_node == table.now.file_node
    return lost.model_copy(
        update={
            "filling": filling,
            "key": tuple(key_columns) if filling is Filling.BY_KEY else (),
            "file_node": table.now.file_node if same_file and filling is Filling.BY_PLACE else 0,
            "leaves": leaves,
            "partitioned": root is not None,
        }
    )


def _key_columns(table: _OneTable, key: Sequence[str], held: Table | None) -> Iterator[KeyColumn]:
    """Those of them that were there at T and never null."""
    at_target = table.then.by_number if table.then else {}
    equality = {column.name: column.equality for column in held.columns} if held else {}
    for column in table.now.columns:
        then = at_target.get(column.number)
        if column.name in key and then and then.not_null and column.name in equality:
            yield KeyColumn(
                now=column.name,
                at_target=then.name,
                cast=column.unlimited_type if column.type_name != then.type_name else None,
                type_at_target=then.type_name,
                equality=equality[column.name],
            )


def _identifies(sides: TwoCatalogs, table: TableParts, names: Sequence[str]) -> bool:
    """Whether the columns tell the rows at T apart: its own key does, of others the rows are asked."""
    root = next((each.key for each in sides.then.partitioned if each.name == table.name), ())
    own = next((each.key for each in sides.then.tables if each.oid == table.oid), root)
    return bool(names) and (set(own) == set(names) or identifies(sides.copy, table.name, names))


def _defaults(table: _OneTable) -> Iterator[ColumnPart]:
    assert table.then
    now = table.now.by_number
    for column in table.then.columns:
        current = now.get(column.number)
        if not current or column.default is None or column.generated or column.inherited:
            continue
        name = f"{table.then.name.schema_name} {table.then.name.name} {column.name}"
        gone = current.default is None and not current.identity and name not in table.question.defaults
        if gone and table.is_wanted(column):
            yield column.model_copy(update={"name": current.name})


def _checks(table: _OneTable, gone: Collection[int], result: PartComparison) -> Iterator[CheckPart]:
    """Those that are missing. `gone`: numbers of columns that come back, with the checks about them."""
    assert table.then
    now = {check.name for check in table.now.checks}
    definitions = {check.definition for check in table.now.checks}
    for check in table.then.checks:
        lost = check.name not in now and check.definition not in definitions and not check.inherited
        if not lost or not (table.is_wanted(check) or set(check.columns) & set(gone)):
            continue
        if set(check.columns) & table.renamed:
            result.differing.append(_names_renamed(table.now.name, f"check {check.name}"))
        else:
            yield check


def _differs(table: _OneTable) -> bool:
    """Whether something that is there at both times is another: what is new since T takes nothing away."""
    assert table.then
    now = table.now.by_number
    checks = {check.name: check.definition for check in table.now.checks}
    return (
        table.then.facts != table.now.facts
        or any(column.number in now and _is_other(column, now[column.number]) for column in table.then.columns)
        or any(checks.get(check.name, check.definition) != check.definition for check in table.then.checks)
    )


def _is_other(then: ColumnPart, now: ColumnPart) -> bool:
    changed_default = now.default is not None and now.default != then.default
    same = {"default": None, "identity": now.identity or then.identity}
    left, right = (column.model_copy(update=same) for column in (then, now))
    return changed_default or (left.name, left.definition) != (right.name, right.definition)


def _positions(then: TableParts, now: TableParts, columns: Sequence[ColumnPart]) -> Iterator[str]:
    places = [column.number for column in then.columns]
    for column in columns:
        place = places.index(column.number) + 1
        if place <= len(now.columns):
            yield (
                f"column {now.name}.{column.name} was number {place} and becomes the last one: statements that"
                " name no columns see another order"
            )
