"""In which order tables are written, and which hang on which by foreign keys. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

from recovery.model.catalog import Catalog, ForeignKey
from recovery.model.recovery_plan import ForeignKeyMode
from recovery.model.values import TableName

NO_NEEDS: Mapping[TableName, Iterable[TableName]] = {}


def load_order(
    tables: Iterable[TableName], catalog: Catalog, *, needs: Mapping[TableName, Iterable[TableName]] = NO_NEEDS
) -> tuple[list[TableName], ForeignKeyMode]:
    """Tables parents first, and how foreign keys must be treated for that order to load.

    `needs`: what else a table's checks read; that is given up before foreign keys are.
    """
    names = sorted(tables, key=_key)
    scope = frozenset(names)
    inside = [key for key in catalog.foreign_keys if key.child in scope and scope & set(key.parent_tables)]
    for mode, respected in (
        (ForeignKeyMode.ORDERED, inside),
        (ForeignKeyMode.DEFERRED, [key for key in inside if not key.deferrable]),
    ):
        for more in (needs, NO_NEEDS) if needs else (NO_NEEDS,):
            try:
                return _sorted(names, scope, respected, more), mode
            except CycleError:
                continue
    return names, ForeignKeyMode.REPLICA


def with_referencing(names: Iterable[TableName], keys: Iterable[ForeignKey]) -> set[TableName]:
    """Those tables, and all whose foreign keys lead to them, over however many others."""
    children: dict[TableName, set[TableName]] = {}
    for key in keys:
        for parent in key.parent_tables:
            children.setdefault(parent, set()).add(key.child)
    return closure(names, children)


def with_referenced(names: Iterable[TableName], keys: Iterable[ForeignKey]) -> set[TableName]:
    """Those tables, and all that their foreign keys lead to, over however many others."""
    parents: dict[TableName, set[TableName]] = {}
    for key in keys:
        parents.setdefault(key.child, set()).update(key.parent_tables)
    return closure(names, parents)


def closure(names: Iterable[TableName], links: Mapping[TableName, set[TableName]]) -> set[TableName]:
    """Those tables, and all that can be reached from them."""
    reached = set(names)
    ahead = list(reached)
    while ahead:
        beyond = links.get(ahead.pop(), set()) - reached
        reached |= beyond
        ahead += beyond
    return reached


def _sorted(
    names: list[TableName],
    scope: frozenset[TableName],
    keys: list[ForeignKey],
    needs: Mapping[TableName, Iterable[TableName]],
) -> list[TableName]:
    sorter: TopologicalSorter[TableName] = TopologicalSorter({name: () for name in names})
    for key in keys:
        for parent in scope & set(key.parent_tables):
            if parent != key.child:
                sorter.add(key.child, parent)
    for name in scope & needs.keys():
        sorter.add(name, *(scope & set(needs[name])))
    return list(sorter.static_order())


def _key(name: TableName) -> tuple[str, str]:
    return name.key
