"""Compare T with now: find every row that differs, in each table of the scope."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from recovery.changeset.change_set import BATCH, ChangeSet
from recovery.changeset.column_mapping import ColumnMapping
from recovery.changeset.row_change import Change, Shape, Texts
from recovery.changeset.row_lines import DifferingRow
from recovery.compare.candidate_rows import Sides, WrittenSince, find_candidate_rows, find_gone_rows
from recovery.compare.moved_rows import RowSignature, row_signature_of
from recovery.compare.rows_without_key import compare_whole_rows
from recovery.model.catalog import Catalog
from recovery.model.modes.reload_mode import IncidentNeed, NewRows
from recovery.model.repair_plan import DetectionMethod, RepairRequest
from recovery.model.row_class import Op, RowClass
from recovery.model.values import TableName
from recovery.postgres.comparison.key_buckets import extent
from recovery.postgres.comparison.key_lookup import lines_by_key
from recovery.postgres.comparison.predicates import EVERY_ROW, Predicate, all_filled, by_writers
from recovery.postgres.comparison.row_lineage import Lineage, writers_since
from recovery.postgres.comparison.table_scan import Ask, Side, repeats, stream, whole_rows
from recovery.postgres.connect import Session
from recovery.postgres.copy_line import values_of
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
    _signatures: dict[TableName, RowSignature | None] = field(default_factory=dict)
    _unique: dict[tuple[TableName, tuple[str, ...]], bool] = field(default_factory=dict)

    def sides(self, columns: ColumnMapping, where: tuple[Predicate, Predicate] | None = None) -> Sides:
        """The two sides of one table, limited by a predicate each."""
        then_where, now_where = where or (EVERY_ROW, EVERY_ROW)
        every = Sides.of(columns, self.copy, self.original)
        return Sides(
            replace(every.then, where=then_where, ask=self.ask),
            replace(every.now, where=now_where),
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
        written = find_candidate_rows(sides, self.lineage, self.changes, compared.shape.no)
        matched, last = self._look_up_candidates(compared)
        if written is None:
            return
        self.tables[columns.original.name] = replace(compared, engine=DetectionMethod.LINEAGE)
        # out of a limited scope a row may be and still be there
        if sides.limited or written.gone(matched):
            self._add_gone(compared, written, last)

    def _look_up_candidates(self, compared: ComparedTable, *, after: int = -1) -> tuple[int, int]:
        """How many of them were there at T, and the number of the last."""
        name = compared.columns.original.name
        matched, number = self.new_rows.get(name, 0), after
        for last, keys in self.changes.candidates(compared.shape.no, after=after):
            self.changes.lines.add(compared.shape.no, self._without_bulk(compared, self.look_up(compared, keys)))
            matched, number = matched + len(keys), last
        return matched - self.new_rows.get(name, 0), number  # a candidate was there at T, or is new

    def _add_gone(self, compared: ComparedTable, written: WrittenSince, last: int) -> None:
        no, sides = compared.shape.no, compared.sides
        gone = find_gone_rows(sides, written, self.changes, no)
        for keys in gone.batches(BATCH) if gone else ():
            self.changes.lines.add(no, self.look_up(compared, keys) if sides.limited else _lost(compared, keys))
        self._look_up_candidates(compared, after=last)

    def try_to_compare(self, columns: ColumnMapping, where: tuple[Predicate, Predicate] | None = None) -> None:
        """The same; a table that the servers cannot read or compare is set aside with their words."""
        name = columns.original.name
        try:
            with self.original.transaction():
                self.compare_table(columns, where)
        except ROW_ERRORS as error:
            self.copy.leave_rows()  # those of the original ended with its transaction
            self.not_compared[name] = server_words(error)
            if compared := self.tables.pop(name, None):
                self.changes.forget(compared.shape.no)

    def compare_referencing(self, compared: ComparedTable, places: Sequence[int]) -> None:
        """Find the rows of a followed table that held a reference in the columns at `places` at T and differ now.

        Of a parent that is loaded whole, every row was lost.
        """
        then, now = ([fields[i].name for i in places] for fields in (compared.columns.then, compared.columns.now))
        no, sides = compared.shape.no, self.sides(compared.columns, (all_filled(then), all_filled(now)))
        written = find_candidate_rows(sides, self.lineage, self.changes, no)
        gone = find_gone_rows(sides, written, self.changes, no) if written else None
        candidates = (keys for _, keys in self.changes.candidates(no))
        for keys in chain(candidates, gone.batches(BATCH) if gone else ()):
            rows = self.look_up(compared, keys)
            self.changes.lines.add(no, (row for row in rows if row.target is not None and _filled(row.target, places)))

    def _compare_keyless(self, compared: ComparedTable) -> None:
        """Without a key a changed row is a lost and a new one.

        Where the incident is known to have written everything that was written since T, all its rows leave, and all
        that T had beside the others come back.
        """
        sides, no = compared.sides, compared.shape.no
        if not self._only_by_incident(sides):
            rows = compare_whole_rows(sides, no)
            self.changes.add(
                row for row in rows if row.original is None or self._is_listed(compared, row.xmin, row.original)
            )
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

    def look_up(self, compared: ComparedTable, keys: Sequence[str]) -> Iterator[DifferingRow]:
        """The rows of `keys` (JSON arrays of texts) that differ; both servers look them up at the same time.

        Which keys are the same, the servers say: they may be equal and yet print differently (citext, nondeterministic
        collations, numeric).
        """
        then = lines_by_key(compared.sides.then, keys)
        now = {row.place: row for row in lines_by_key(compared.sides.now, keys)}
        for row in then:
            current = now.pop(row.place, None)
            if current is None:
                yield DifferingRow(row.key, row.line, None, None)
            elif current.line != row.line:
                yield DifferingRow(current.key, row.line, current.line, current.xmin)
        yield from (DifferingRow(row.key, None, row.line, row.xmin) for row in now.values())

    def _without_bulk(self, compared: ComparedTable, rows: Iterable[DifferingRow]) -> Iterator[DifferingRow]:
        """All but the bulk of the new rows, of which only a replacement needs more than their number."""
        for row in rows:
            is_new = row.target is None and row.original is not None
            if not is_new or self._is_listed(compared, row.xmin, values_of(row.original or "")):
                yield row

    def _is_listed(self, compared: ComparedTable, xmin: int | None, values: Texts) -> bool:
        """Note a new row, by what it could be recognized as a moved one; whether it is needed itself."""
        name = compared.columns.original.name
        by_incident = xmin is not None and self.request.names(xmin)
        if name not in self._signatures:
            self._signatures[name] = row_signature_of(compared.columns, self.now)
        if signature := self._signatures[name]:
            self.changes.note_new(signature.marks(values))
            if by_incident and (mark := signature.incident_rest_of(values)):
                self.changes.note_new([mark])
        self.new_rows[name] = self.new_rows.get(name, 0) + 1
        bulk = self.request.reload_mode.new_rows is NewRows.STAY and self.new_rows[name] > NEW_ROWS_SHOWN
        return by_incident or not bulk

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


def _lost(compared: ComparedTable, keys: Sequence[str]) -> Iterator[DifferingRow]:
    """The rows of keys that are known to be gone."""
    return (DifferingRow(row.key, row.line, None, None) for row in lines_by_key(compared.sides.then, keys))


def _filled(line: str, places: Sequence[int]) -> bool:
    values = values_of(line)
    return all(values[i] is not None for i in places)
