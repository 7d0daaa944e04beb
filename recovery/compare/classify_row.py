"""What became of one row, who did it, and what the mode makes of that. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from operator import ne

from recovery.changeset.row_change import Change, Texts
from recovery.changeset.row_lines import ChangedRow
from recovery.model.repair_plan import RepairRequest
from recovery.model.row_class import OnConflict, Op, RowClass

_NUMBER = re.compile(r"-?\d+(\.\d+)?")


@dataclass(frozen=True)
class Entity:
    """What tells one entity from another: `own` are columns beside the key, `distinct` those of other unique keys.

    `reissued`: place of the key and the last number that its sequence gave out, where that stands behind where it stood
    at T: it gives numbers out for a second time. `renumbered`: that may be so, and is not certain. `renewed`: every row
    that is there now was inserted since T. `rewriters`: transactions that left the same values in several rows, as an
    UPDATE does and new entities do not.
    """

    own: tuple[int, ...]
    distinct: tuple[tuple[int, ...], ...]
    reissued: tuple[int, int] | None = None
    renumbered: bool = False
    renewed: bool = False
    rewriters: frozenset[int] = frozenset()

    def replaced(self, target: Texts, original: Texts) -> bool:
        """Whether the row with this key is another entity now.

        A unique key that is filled and unchanged says no. Where all rows are new, or the row's number was given out
        again, any difference says yes. Otherwise every other unique key and most columns must differ; where there is no
        other unique key, everything that the row held, and that must be several columns.
        """
        if any(all(original[i] is not None and target[i] == original[i] for i in key) for key in self.distinct):
            return False
        if self.renewed or self._reissued(target):
            return any(target[i] != original[i] for i in self.own)
        filled_at_target = [i for i in self.own if target[i] is not None]
        differing = [i for i in self.own if target[i] != original[i]]
        if self.distinct:
            elsewhere = all(any(target[i] != original[i] for i in key) for key in self.distinct)
            told_apart = len(self.own) > 1 or self.renumbered  # a rename of all there is says nothing
            return told_apart and elsewhere and 2 * len(differing) > len(self.own)
        return len(filled_at_target) >= (1 if self.renumbered else 2) and all(
            target[i] != original[i] for i in filled_at_target
        )

    def _reissued(self, target: Texts) -> bool:
        if self.reissued is None:
            return False
        place, last = self.reissued
        return int(target[place] or 0) <= last


@dataclass
class Effect:
    """What the incident did to a table: the columns its rows differ in, and the value it left there if always one.

    A column in which only the lesser part of its rows differ, with various values, was written by others between
    T and the incident: nothing the incident did explains it. A number that is always the same before and always the
    same after may have been set or counted: a later value may still show it.
    """

    rows: int = 0
    differing: Counter[int] = field(default_factory=Counter)
    values: dict[int, set[str | None]] = field(default_factory=dict)
    before: dict[int, set[str | None]] = field(default_factory=dict)

    def learn(self, targets: Sequence[Texts], originals: Sequence[Texts]) -> None:
        """Count rows that the incident was the last to write: at T, and now."""
        self.rows += len(targets)
        for i, (then, now) in enumerate(zip(zip(*targets, strict=True), zip(*originals, strict=True), strict=True)):
            _keep_two(self.values, i, now)
            _keep_two(self.before, i, then)
            if differ := sum(map(ne, now, then)):
                self.differing[i] += differ

    def explains_all(self) -> bool:
        """Whether the incident wrote every column in which any of its rows differs."""
        return all(map(self.wrote, self.differing))

    def wrote(self, i: int) -> bool:
        """Whether the incident is what changed column `i`."""
        return bool(self.differing[i]) and (2 * self.differing[i] >= self.rows or len(self.values[i]) == 1)

    def unexplained(self, target: Texts, original: Texts) -> bool:
        """Whether a row that the incident wrote last differs in a column that the incident did not write."""
        return any(original[i] != target[i] and not self.wrote(i) for i in range(len(original)))

    def counted(self, i: int) -> bool:
        """Whether the incident may have counted column `i` up or down rather than set it."""
        values = (*self.values[i], *self.before[i])
        return len(values) == 2 and all(value is not None and _NUMBER.fullmatch(value) for value in values)

    def remains(self, target: Texts, original: Texts) -> list[int]:
        """Indexes of the columns in which a row written later still shows, or may show, what the incident did."""
        return [
            i
            for i in self.differing
            if self.wrote(i)
            and original[i] != target[i]
            and (len(self.values[i]) > 1 or original[i] in self.values[i] or self.counted(i))
        ]

    def merged(self, target: Texts, original: Texts, *, last: bool) -> Texts | None:
        """A three-way merge with T as the base: columns the incident wrote are set back, columns others wrote are kept.

        `last`: the incident wrote the row last, so the values of its columns are its own. Otherwise returns None where
        a column may hold a value of either: the incident wrote no single value that would distinguish it from a later
        one.
        """
        back = self.remains(target, original)
        if not last and any(len(self.values[i]) > 1 or original[i] not in self.values[i] for i in back):
            return None
        return tuple(target[i] if i in back else value for i, value in enumerate(original))


def _keep_two(examples: dict[int, set[str | None]], i: int, column: Iterable[str | None]) -> None:
    """Whether a column has one value or more is all that is asked of them."""
    values = examples.setdefault(i, set())
    if len(values) < 2:
        values.update(islice(set(column) - values, 2 - len(values)))


def attribute(change: Change, effect: Effect, entity: Entity, incident: frozenset[int]) -> Change:
    """Classify a changed row by the transactions that wrote it.

    Reverted if the incident alone did, conflict if others did as well, reused if the key belongs to another entity now,
    newer if only others did. Without a named incident what would be newer stays `changed`.
    """
    if change.kind is not RowClass.CHANGED:
        return change
    assert change.target is not None
    assert change.original is not None
    if change.xmin in incident:
        mixed = effect.unexplained(change.target, change.original)
        return change._replace(kind=RowClass.CONFLICT if mixed else RowClass.REVERTED)
    if effect.remains(change.target, change.original):
        return change._replace(kind=RowClass.CONFLICT)
    if change.xmin not in entity.rewriters and entity.replaced(change.target, change.original):
        return change._replace(kind=RowClass.REUSED)
    return change._replace(kind=RowClass.NEWER) if incident else change


def resolve(change: Change, request: RepairRequest, effect: Effect) -> Change:
    """What the mode does to a row that is there at both times.

    Lost rows are put back in every mode, new ones leave only in `replace` (ChangeSet.insert_lost, delete_new).
    """
    mode = request.reload_mode
    if change.kind in mode.set_back:
        return change._replace(op=Op.UPDATE, want=change.target)
    return resolve_conflict(change, request, effect) if change.kind in mode.by_policy else change


def resolve_conflict(change: Change, request: RepairRequest, effect: Effect) -> Change:
    """Keep-live by default; a merge that cannot tell the two writers apart keeps the live row as well."""
    assert change.target is not None
    assert change.original is not None
    last = change.xmin in request.incident_xids
    match request.on_conflict:
        case OnConflict.TAKE_T:
            return change._replace(op=Op.UPDATE, want=change.target)
        case OnConflict.MERGE if (merged := effect.merged(change.target, change.original, last=last)) is not None:
            return change._replace(op=Op.UPDATE, want=merged)
        case OnConflict.MERGE:
            return change._replace(reason="the incident and a later writer cannot be told apart in one column")
    return change


def columns_by_writer(
    batches: Iterable[Sequence[ChangedRow]], columns: Sequence[str]
) -> Mapping[int, tuple[int, tuple[str, ...]]]:
    """Xmin → rows it wrote last and the columns in which any of them differs from T."""
    rows: Counter[int] = Counter()
    touched: dict[int, set[str]] = {}
    for batch in batches:
        for xmin, written in _by_xmin(batch).items():
            rows[xmin] += len(written)
            sides = (
                zip(*values, strict=True) for values in zip(*((r.target, r.original) for r in written), strict=True)
            )
            changed = touched.setdefault(xmin, set())
            changed.update(name for name, then, now in zip(columns, *sides, strict=True) if then != now)
    return {xmin: (count, tuple(c for c in columns if c in touched[xmin])) for xmin, count in rows.most_common()}


def _by_xmin(rows: Iterable[ChangedRow]) -> Mapping[int, list[ChangedRow]]:
    by_xmin: dict[int, list[ChangedRow]] = {}
    for row in rows:
        by_xmin.setdefault(row.xmin, []).append(row)
    return by_xmin
