"""Compare T with now: find every row that differs, in each table of the scope."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from recovery.changeset.change_set import ChangeSet
from recovery.changeset.column_mapping import ColumnMapping
from recovery.changeset.row_change import Change, Shape, Texts
from recovery.compare.candidate_rows import Sides, find_candidate_rows
from recovery.compare.classify_row import differing
from recovery.compare.moved_rows import row_signature_of
from recovery.compare.rows_without_key import compare_whole_rows
from recovery.model.catalog import Catalog
from recovery.model.modes.reload_mode import IncidentNeed, NewRows
from recovery.model.repair_plan import DetectionMethod, RepairRequest
from recovery.model.row_class import Op, RowClass
from recovery.model.values import TableName
from recovery.postgres.comparison.key_buckets import extent
from recovery.postgres.comparison.predicates import EVERY_ROW, Predicate, all_filled, by_writers
from recovery.postgres.comparison.row_lineage import Lineage, writers_since
from recovery.postgres.comparison.table_scan import (
    Ask,
    Side,
    repeats,
    rows_as_json,
    rows_by_key,
    stream,
    whole_rows,
)
from recovery.postgres.connect import Session
from recovery.postgres.isolate_bad_rows import ROW_ERRORS, server_words
from recovery.postgres.staging.row_constraints import Rules

NEW_ROWS_SHOWN = 1_000


@dataclass(frozen=True)
class ComparedTable:
    """One table of the comparison: its columns on both sides, its place in the change set, how it was compared."""

    columns: ColumnMapping
    shape: Shape
    sides: Sides
    engine: DetectionMethod
    because: str = ""


@dataclass
class Comparison:
    """Both sides and what is known of them: the original in one repeatable-read transaction, the copy stands still."""

    original: Session
    copy: Session
    then: Catalog
    now: Catalog
    rules: Mapping[TableName, Rules]
    lineage: Lineage | None
    changes: ChangeSet
    request: RepairRequest
    ask: Ask = stream
    tables: dict[TableName, ComparedTable] = field(default_factory=dict)
    new_rows: dict[TableName, int] = field(default_factory=dict)
    exact: set[TableName] = field(default_factory=set)
    unexamined: set[TableName] = field(default_factory=set)
    not_compared: dict[TableName, str] = field(default_factory=dict)
    _written: dict[TableName, bool] = field(default_factory=dict)
    notices: dict[str, None] = field(default_factory=dict)
    _unique: dict[tuple[TableName, tuple[str, ...]], bool] = field(default_factory=dict)

    def sides(self, columns: ColumnMapping, where: tuple[Predicate, Predicate] | None = None) -> Sides:
        """The two sides of one table, limited by a predicate each."""
        then_where, now_where = where or (EVERY_ROW, EVERY_ROW)
        key = columns.key
        return Sides(
            Side(
                self.copy,
                columns.at_target.name,
                tuple(columns.then[i] for i in key),
                columns.then,
                then_where,
                self.ask,
            ),
            Side(self.original, columns.original.name, tuple(columns.now[i] for i in key), columns.now, now_where),
            limited=where is not None,
        )

    def add_table(
        self, columns: ColumnMapping, sides: Sides, engine: DetectionMethod, because: str = ""
    ) -> ComparedTable:
        """A place for the table's rows in the change set."""
        shape = self.changes.add_table(columns.original.name, columns.original.key, columns.columns)
        compared = ComparedTable(columns, shape, sides, engine, because)
        self.tables[columns.original.name] = compared
        return compared

    def notice(self, text: str) -> None:
        """Something the plan must tell, once."""
        self.notices[text] = None

    def compare_table(self, columns: ColumnMapping, where: tuple[Predicate, Predicate] | None = None) -> None:
        """Find every differing row of one table."""
        sides = self.sides(columns, where)
        if not columns.key:
            self._compare_keyless(self.add_table(columns, sides, DetectionMethod.WHOLE_ROWS))
            return
        compared = self.add_table(columns, sides, DetectionMethod.BUCKETS)
        engine = find_candidate_rows(sides, self.lineage, self.changes, compared.shape.no)
        self.tables[columns.original.name] = replace(compared, engine=engine)
        for keys in self.changes.candidates(compared.shape.no):
            self._add_differing(compared, keys)

    def _add_differing(self, compared: ComparedTable, keys: list[Texts]) -> None:
        """Rows that are gone go from the copy into the change set as they are; the others are compared here."""
        no, sides = compared.shape.no, compared.sides
        present = {place for place, _, _ in rows_by_key(replace(sides.now, fields=()), keys)}
        if gone := [key for place, key in enumerate(keys) if place not in present]:
            lost = {place: (key, row) for place, key, row in rows_as_json(sides.then, gone)}
            self.changes.add_lost(no, lost.values())
        if remaining := [keys[place] for place in sorted(present)]:
            self.changes.add(self._within_limit(compared, self.look_up(compared, remaining)))

    def try_to_compare(self, columns: ColumnMapping, where: tuple[Predicate, Predicate] | None = None) -> None:
        """The same; a table that the servers cannot read or compare is set aside with their words."""
        name = columns.original.name
        try:
            with self.original.transaction():
                self.compare_table(columns, where)
        except ROW_ERRORS as error:
            self.not_compared[name] = server_words(error)
            if compared := self.tables.pop(name, None):
                self.changes.forget(compared.shape.no)

    def compare_referencing(self, compared: ComparedTable, places: Sequence[int]) -> None:
        """Find the rows of a followed table that held a reference in the columns at `places` at T and differ now.

        Of a parent that is loaded whole, every row was lost.
        """
        then, now = ([fields[i].name for i in places] for fields in (compared.columns.then, compared.columns.now))
        no, sides = compared.shape.no, self.sides(compared.columns, (all_filled(then), all_filled(now)))
        find_candidate_rows(sides, self.lineage, self.changes, no)
        for keys in self.changes.candidates(no):
            rows = self.look_up(compared, keys)
            self.changes.add(row for row in rows if row.target and all(row.target[i] is not None for i in places))

    def _compare_keyless(self, compared: ComparedTable) -> None:
        """Without a key a changed row is a lost and a new one.

        Where the incident is known to have written everything that was written since T, all its rows leave, and all
        that T had beside the others come back.
        """
        sides, no = compared.sides, compared.shape.no
        if not self._only_by_incident(sides):
            self.changes.add(self._within_limit(compared, compare_whole_rows(sides, no)))
            return
        assert self.lineage
        theirs, others = by_writers(sides.now.where, list(writers_since(sides.now, self.lineage)))
        self.exact.add(compared.columns.original.name)
        self.changes.add(compare_whole_rows(replace(sides, now=replace(sides.now, where=others)), no))
        for n, (xmin, _, *values) in enumerate(whole_rows(replace(sides.now, where=theirs))):
            row = tuple(values)
            self.changes.add([Change(no, (*row, f"written {n}"), RowClass.NEW, None, row, int(xmin or 0), Op.DELETE)])

    def _only_by_incident(self, sides: Sides) -> bool:
        if self.request.reload_mode.incident is not IncidentNeed.REQUIRED or self.lineage is None:
            return False
        if not all(self.request.names(xmin) for xmin in writers_since(sides.now, self.lineage)):
            return False
        # More rows than T had: some were committed between T and the incident, and none of them may leave.
        return extent(sides.now)[0] <= extent(sides.then)[0]

    def look_up(self, compared: ComparedTable, keys: list[Texts]) -> Iterator[Change]:
        """The rows of `keys` on both sides, those that differ.

        Which rows are the same, the servers say: keys may be equal and yet print differently (citext, nondeterministic
        collations, numeric).
        """
        positions = compared.columns.key
        then, now = compared.sides.then, compared.sides.now
        at_target = {place: row for place, _, row in rows_by_key(then, keys)}
        original = {place: (int(xmin), row) for place, xmin, row in rows_by_key(now, keys)}
        for place in range(len(keys)):
            target, current = at_target.get(place), original.get(place)
            row = current[1] if current else target
            if row and (change := differing(compared.shape.no, tuple(row[i] for i in positions), target, current)):
                yield change

    def _within_limit(self, compared: ComparedTable, changes: Iterable[Change]) -> Iterator[Change]:
        """All but the bulk of the new rows, of which only a replacement needs more than their number."""
        name = compared.columns.original.name
        signature = row_signature_of(compared.columns, self.now)
        for change in changes:
            if change.kind is RowClass.NEW:
                by_incident = change.xmin is not None and self.request.names(change.xmin)
                if signature and change.original:
                    self.changes.note_new(signature.marks(change.original))
                    if by_incident and (mark := signature.incident_rest_of(change.original)):
                        self.changes.note_new([mark])
                self.new_rows[name] = self.new_rows.get(name, 0) + 1
                bulk = self.request.reload_mode.new_rows is NewRows.STAY and self.new_rows[name] > NEW_ROWS_SHOWN
                if bulk and not by_incident:
                    continue
            yield change

    def written_since(self, columns: ColumnMapping) -> bool:
        """Whether anybody wrote rows of a table since T, as far as that can be excluded."""
        if self.lineage is None:
            return True
        if columns.original.name not in self._written:
            self._written[columns.original.name] = bool(writers_since(self.sides(columns).now, self.lineage))
        return self._written[columns.original.name]

    def unique_at_target(self, root: TableName, columns: tuple[str, ...]) -> bool:
        """Whether no two rows of a partitioned table agreed in these columns at T, in whatever partitions they were."""
        if (root, columns) not in self._unique:
            self._unique[root, columns] = not repeats(self.copy, root, columns, self.ask)
        return self._unique[root, columns]

    def with_losses(self) -> set[TableName]:
        """Tables of which rows are gone, or were changed by the incident."""
        kinds = (RowClass.LOST, RowClass.REVERTED, RowClass.CONFLICT)
        return {
            name
            for name, compared in self.tables.items()
            if any(self.changes.classes(compared.shape.no).get(kind) for kind in kinds)
        }

    def rows_at_target(self, name: TableName) -> int:
        """Rows in scope at T."""
        then = self.tables[name].sides.then
        return extent(Side(self.copy, then.table, (), (), then.where, self.ask))[0]
