"""Which tables a request is about, and why each of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError
from recovery.model.catalog import Catalog, ForeignKey, Table
from recovery.model.nearest import nearest, nearest_line
from recovery.model.recovery_plan import LEFT_OUT_BY_EXCEPT, LeftOut, PlannedTable, Why
from recovery.model.values import TableName


@dataclass(frozen=True)
class ScopeRequest:
    """What the user typed. No `tables`: the whole database. `leave_out` takes patterns such as `ops.*`."""

    tables: Sequence[str] = ()
    leave_out: Sequence[str] = ()


@dataclass
class Scope:
    """`chosen` in no particular order yet."""

    chosen: dict[TableName, PlannedTable] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)


def choose_scope(catalog: Catalog, nonempty: set[TableName], request: ScopeRequest) -> Scope:
    """The tables to put back.

    Raises table-unknown for a name or pattern that matches nothing, and table-unrecoverable for a named table whose
    rows no backup holds.
    """
    left_out = {name for pattern in request.leave_out for name in match_tables(pattern, catalog)}
    scope = Scope(
        left_out=[LeftOut(name=n, reason=LEFT_OUT_BY_EXCEPT) for n in sorted(left_out, key=lambda name: name.key)]
    )
    why = Why.NAMED if request.tables else Why.WHOLE_DATABASE
    if request.tables:
        named_tables = {name: text for text in request.tables for name in match_tables(text, catalog)}
    else:
        named_tables = {table.name: "" for table in catalog.tables}
    for name, text in named_tables.items():
        if name not in left_out:
            _add(scope, catalog, nonempty, PlannedTable(name=name, why=why, because=text, bytes_now=0))
    _close(scope, catalog, nonempty, excluded=left_out)
    return scope


def match_tables(text: str, catalog: Catalog) -> list[TableName]:
    """The tables that `text` names: `schema.table`, a unique bare name, a partitioned table (its leaves), a pattern.

    Raises table-unknown.
    """
    leaves = {part.name: part.leaves for part in catalog.partitioned}
    names = [*(table.name for table in catalog.tables), *leaves]
    spelled = [name for name in names if text in (str(name), ".".join(name.key), name.name)]
    matches = spelled or [name for name in names if fnmatchcase(".".join(name.key), text)]
    if len(spelled) > 1:
        raise RowbackError(
            ErrorId.TABLE_UNKNOWN,
            f"table name '{text}' is ambiguous",
            f"it could be {' or '.join(map(str, spelled))}",
            state=NOTHING_CREATED,
            help="write schema.table",
        )
    if not matches:
        near = nearest(text, [str(n) for n in names] + [n.name for n in names])
        raise RowbackError(
            ErrorId.TABLE_UNKNOWN,
            f"no table matches '{text}'",
            nearest_line(near, f"the database has {len(names)} tables"),
            state=NOTHING_CREATED,
            help="correct the name; a table that was dropped since T is made anew: add --mode recreate",
        )
    return [leaf for name in matches for leaf in leaves.get(name, (name,))]


def _close(scope: Scope, catalog: Catalog, nonempty: set[TableName], *, excluded: set[TableName]) -> None:
    """Add what the chosen tables hang together with, until nothing changes.

    Children that a cascade emptied, empty parents; and tables of which only those rows matter that lost rows lead to.
    """
    settled: set[TableName] = set(excluded) | {out.name for out in scope.left_out}
    changed = True
    while changed:
        changed = False
        for planned in [*_heirs(catalog, scope), *(f for key in catalog.foreign_keys for f in _reached(key, scope))]:
            if planned.name not in scope.chosen and planned.name not in settled:
                _add(scope, catalog, nonempty, planned)
                settled.add(planned.name)
                changed = True


def _heirs(catalog: Catalog, scope: Scope) -> Iterable[PlannedTable]:
    """Inheritance children: TRUNCATE of the parent empties them without naming them."""
    for table in catalog.tables:
        for parent in table.inherits:
            if parent in scope.chosen and scope.chosen[parent].empty:
                because = f"it inherits from {parent}"
                yield PlannedTable(name=table.name, why=Why.EMPTIED_BY_CASCADE, because=because, bytes_now=0)


def _reached(key: ForeignKey, scope: Scope) -> Iterable[PlannedTable]:
    parents = [scope.chosen[parent] for parent in key.parent_tables if parent in scope.chosen]
    if parents:
        why = Why.EMPTIED_BY_CASCADE if any(map(_emptied, parents)) else Why.FOLLOWED
        yield PlannedTable(name=key.child, why=why, because=f"{key.name} references {key.parent}", bytes_now=0)
    if child := scope.chosen.get(key.child):
        why = Why.NEEDED_PARENT if _emptied(child) else Why.FOLLOWED
        for parent in key.parent_tables:
            because = f"{key.child} references it ({key.name})"
            yield PlannedTable(name=parent, why=why, because=because, bytes_now=0)


def _emptied(table: PlannedTable) -> bool:
    return table.empty and table.why is not Why.FOLLOWED


def _add(scope: Scope, catalog: Catalog, nonempty: set[TableName], planned: PlannedTable) -> None:
    table = catalog.table(planned.name)
    if table is None:  # a parent that belongs to an extension: its rows are the extension's
        return
    objection = _objection(table)
    if table.unlogged and planned.why is Why.NAMED:
        raise RowbackError(
            ErrorId.TABLE_UNRECOVERABLE,
            f"table {planned.name} cannot be put back: it is unlogged, so no backup holds its rows",
            state=NOTHING_CREATED,
            help=f"leave it out: --except {planned.name}; if it was logged at T: --mode beside",
        )
    if objection:
        about = f", though {planned.because}" if planned.why not in (Why.NAMED, Why.WHOLE_DATABASE) else ""
        loses_rows = planned.why is not Why.FOLLOWED and table.extension is None
        if planned.why is Why.NAMED:
            raise RowbackError(
                objection.id,
                f"{objection.fact} {table.name}{objection.rest}",
                state=NOTHING_CREATED,
                help=objection.help.format(name=table.name),
            )
        scope.left_out.append(LeftOut(name=planned.name, reason=f"{objection.short}{about}", hit=loses_rows))
    else:
        requested = planned.why in (Why.NAMED, Why.WHOLE_DATABASE)
        empty = planned.name not in nonempty
        why = planned.why if requested or empty else Why.FOLLOWED
        scope.chosen[planned.name] = planned.model_copy(update={"bytes_now": table.bytes, "empty": empty, "why": why})


@dataclass(frozen=True)
class _Objection:
    """Why rows cannot be put into a table: as an error where it was named, in short where it is left out."""

    id: ErrorId
    fact: str
    rest: str
    help: str
    short: str


def _objection(table: Table) -> _Objection | None:
    """What this role lacks, or None."""
    if table.row_security:
        return _Objection(
            ErrorId.TABLE_UNRECOVERABLE,
            "row security hides rows of",
            " from this role",
            "log in as a role with BYPASSRLS, or as the owner of the table without FORCE ROW LEVEL SECURITY",
            "row security hides its rows from this role",
        )
    if not table.readable:
        return _Objection(
            ErrorId.PRIVILEGE_MISSING,
            "this role may not read",
            "",
            "grant it SELECT, log in as the owner, or leave it out: --except {name}",
            "this role may not read it",
        )
    if not table.insertable or (table.triggers and not table.owned):
        lacking = "it has triggers that only its owner may hold back" if table.insertable else "no INSERT privilege"
        return _Objection(
            ErrorId.PRIVILEGE_MISSING,
            "this role may not put rows back into",
            f": {lacking}",
            "log in as the owner of {name} (PGUSER)",
            f"this role may not write to it: {lacking}",
        )
    return None
