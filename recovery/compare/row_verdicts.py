"""Say of every differing row who changed it, and what the mode does with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from recovery.changeset.block_rows import block, blocked
from recovery.changeset.row_change import Change, Texts
from recovery.compare.classify_row import Effect, Entity, attribute, resolve
from recovery.compare.entity_keys import entity_of_table, renewed
from recovery.compare.moved_rows import BY_INCIDENT, MAYBE_MOVED, SAME_NUMBER, SAME_REST, root_of, row_signature_of
from recovery.compare.table_diff import ComparedTable, Comparison
from recovery.model.catalog import ForeignKey
from recovery.model.modes.reload_mode import NewRows
from recovery.model.repair_plan import DetectionMethod, RepairRequest
from recovery.model.row_class import Op, RowClass

MAYBE_AN_OLD_VERSION = "its table has no key, and rows written since T may be newer versions of it: see --mode beside"
CONVERTED = "column {} was converted when its type changed since T ({}): most rows hold another value than theirs at T"
RENAMED = "the rows that referenced it were given to {} since T: it may have been renamed"
PAIRS_AT_LEAST = 2
MarkOf = Callable[[Texts], str | None]


def attribute_and_resolve(comparison: Comparison) -> None:
    """Every row that differs gets its class, its operation and, where it stays, the reason."""
    incident = frozenset(comparison.request.incident_xids)
    for compared in comparison.tables.values():
        no, changes = compared.shape.no, comparison.changes
        effect, entity = _effect(comparison, compared, incident), entity_of_table(comparison, compared)
        request = _request_for(comparison, compared)
        converted = _converted(comparison, compared, incident)
        changes.insert_lost(no)
        if request.reload_mode.new_rows is NewRows.LEAVE:
            changes.delete_new(no)
        if effect.explains_all() and RowClass.REVERTED in request.reload_mode.set_back:
            changes.lines.revert(no, incident)
        changes.update(
            resolve(attribute(change, effect, entity, incident), request, effect)
            for change in changes.changes(no, kinds=[RowClass.CHANGED])
        )
        _tell_doubt(comparison, compared, entity)
        _block_moved(comparison, compared, entity)
        if converted:
            block(changes, no, Op.INSERT, converted)
            block(changes, no, Op.UPDATE, converted)
        if added := compared.columns.added:
            why = f"its column {added[0]} was added since T, so undo could not bring it back"
            block(changes, no, Op.DELETE, why)
        _block_keyless(comparison, compared)
    for compared in comparison.tables.values():
        _block_renamed(comparison, compared)


def _effect(comparison: Comparison, compared: ComparedTable, incident: frozenset[int]) -> Effect:
    effect = Effect()
    for rows in comparison.changes.lines.changed(compared.shape.no, [RowClass.CHANGED], by=incident):
        effect.learn([row.target for row in rows], [row.original for row in rows])
    return effect


def _request_for(comparison: Comparison, compared: ComparedTable) -> RepairRequest:
    """A followed table is never replaced: only what was lost or hit by the incident comes back."""
    request = comparison.request
    followed = request.reload_mode.followed
    if compared.engine is DetectionMethod.FOLLOWED and followed:
        mode = followed.with_incident if request.incident_xids else followed.without_incident
        return request.model_copy(update={"mode": mode})
    return request


def _converted(comparison: Comparison, compared: ComparedTable, incident: frozenset[int]) -> str | None:
    """Whether a change of type changed the values as well (ALTER … TYPE … USING).

    Then T has other units, and no row of T may be written. Said by the rows that are there at both times and that the
    incident did not write.
    """
    retyped = compared.columns.retyped
    if not retyped:
        return None
    differing = dict.fromkeys(retyped, 0)
    both = comparison.rows_at_target(compared.columns.original.name)
    for change in comparison.changes.changes(compared.shape.no, kinds=[RowClass.LOST, RowClass.CHANGED]):
        both -= change.original is None or change.xmin in incident
        if change.original and change.target and change.xmin not in incident:
            for i in retyped:
                differing[i] += change.original[i] != change.target[i]
    for i, rows in differing.items():
        if rows >= PAIRS_AT_LEAST and 2 * rows > both:
            name = compared.columns.columns[i]
            return CONVERTED.format(name, compared.columns.types_of(i))
    return None


def _block_keyless(comparison: Comparison, compared: ComparedTable) -> None:
    """Without a key a changed row looks like a lost and a new one: never put the old version beside the new.

    Where the table was emptied, all rows are new, and none a version of another. Where all new rows leave, none stays
    beside an old version, and which of several equal rows leaves makes no difference.
    """
    no, changes = compared.shape.no, comparison.changes
    if compared.engine is not DetectionMethod.WHOLE_ROWS or compared.columns.original.name in comparison.exact:
        return
    leaving = _request_for(comparison, compared).reload_mode.new_rows is NewRows.LEAVE
    staying = (RowClass.BLOCKED,) if leaving else (RowClass.NEW,)
    if any(kind in staying for kind, _ in changes.tally(no)) and not renewed(comparison, compared):
        block(changes, no, Op.INSERT, MAYBE_AN_OLD_VERSION)


def _tell_doubt(comparison: Comparison, compared: ComparedTable, entity: Entity) -> None:
    """Where one column is all that could tell an entity from another, an edit and another entity look alike."""
    name, keys = compared.columns.original.name, comparison.now.foreign_keys
    children = sorted({str(key.child) for key in keys if name in key.parent_tables and key.child != name})
    if len(entity.own) != 1 or not children:
        return
    untouched = comparison.changes.changes(compared.shape.no, kinds=[RowClass.CHANGED, RowClass.NEWER], ops=[Op.KEEP])
    if doubtful := sum(1 for _ in untouched):
        column = compared.columns.columns[entity.own[0]]
        comparison.notice(
            f"{doubtful:,} rows of {name} differ from T in {column}, their only column beside the key: whether they"
            f" are the same entities cannot be told, and rows of {', '.join(children)} go to them"
        )


def _block_moved(comparison: Comparison, compared: ComparedTable, entity: Entity) -> None:
    """A row that was only given another key, or moved to another partition, is not put back beside itself."""
    signature = row_signature_of(compared.columns, comparison.now)
    if signature is None or comparison.request.reload_mode.new_rows is NewRows.LEAVE:
        return
    if comparison.changes.notes_nothing():
        return
    _block_alike(comparison, compared, signature.of, MAYBE_MOVED)
    if not (entity.renumbered or entity.renewed):
        _block_alike(comparison, compared, signature.number_of, SAME_NUMBER)
    _block_alike(comparison, compared, signature.incident_rest_of, BY_INCIDENT)
    if any(_alike(comparison, compared, signature.rest_of)):
        names = tuple(compared.columns.then[i].name for i in signature.rest)
        if comparison.unique_at_target(root_of(compared.columns.at_target.name, comparison.then), names):
            _block_alike(comparison, compared, signature.rest_of, SAME_REST)


def _block_alike(comparison: Comparison, compared: ComparedTable, mark_of: MarkOf, reason: str) -> None:
    comparison.changes.update(blocked(change, reason) for change in _alike(comparison, compared, mark_of))


def _alike(comparison: Comparison, compared: ComparedTable, mark_of: MarkOf) -> Iterator[Change]:
    """The rows to be inserted whose mark a row written since T has as well."""
    for change in comparison.changes.changes(compared.shape.no, ops=[Op.INSERT]):
        if change.target and (mark := mark_of(change.target)) and comparison.changes.noted(mark):
            yield change


def _block_renamed(comparison: Comparison, compared: ComparedTable) -> None:
    """A parent whose children all follow a new key, as ON UPDATE CASCADE makes them, was renamed, not lost."""
    mode = comparison.request.reload_mode
    if row_signature_of(compared.columns, comparison.now) is None or mode.new_rows is NewRows.LEAVE:
        return
    changes, name = comparison.changes, compared.columns.original.name
    renamed: dict[Texts, Texts] = {}
    for key in comparison.now.visible_keys:
        child = comparison.tables.get(key.child)
        if child and name in key.parent_tables and sorted(key.parent_columns) == sorted(compared.columns.original.key):
            renamed.update(_given_to(comparison, compared, child, key))
    if renamed:
        changes.update(
            blocked(change, RENAMED.format(", ".join(text or "null" for text in renamed[change.key])))
            for change in changes.changes(compared.shape.no, ops=[Op.INSERT])
            if change.key in renamed
        )


def _given_to(
    comparison: Comparison, parent: ComparedTable, child: ComparedTable, key: ForeignKey
) -> Mapping[Texts, Texts]:
    """Key at T → the one new key that all changed children of it reference now; rows of the incident do not count."""
    if not set(key.columns) <= set(child.columns.columns):
        return {}
    pairs = dict(zip(key.parent_columns, key.columns, strict=True))
    at = [child.columns.columns.index(pairs[name]) for name in parent.columns.original.key]
    followed: dict[Texts, set[Texts]] = {}
    for change in comparison.changes.changes(child.shape.no, kinds=[RowClass.NEWER, RowClass.CHANGED]):
        if change.target and change.original:
            old, new = (tuple(row[i] for i in at) for row in (change.target, change.original))
            if old != new and None not in (*old, *new):
                followed.setdefault(old, set()).add(new)
    renamed = {old: next(iter(new)) for old, new in followed.items() if len(new) == 1}
    return {
        old: new
        for old, new in renamed.items()
        if (row := comparison.changes.find(parent.shape.no, new)) and row.kind is RowClass.NEW
    }
