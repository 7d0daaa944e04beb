"""Compare T with now: find what differs in every table of the scope, follow it along foreign keys, attribute it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from recovery.compare.changes import Change, ChangeSet, Shape, Texts
from recovery.compare.classify import Effect, Entity, attribute, differing, resolve
from recovery.compare.mapping import Mapping as Columns
from recovery.compare.moved import MAYBE_MOVED, likeness_of
from recovery.compare.suspects import Sides, compare_whole_rows, find_suspects
from recovery.model.catalog import Catalog
from recovery.model.repair import Engine, Mode, Op, RepairRequest, RowClass
from recovery.model.values import TableName
from recovery.postgres.connect import Session
from recovery.postgres.isolation import ROW_ERRORS, server_words
from recovery.postgres.repair.lineage import Lineage, writers_since
from recovery.postgres.repair.obstacles import FOUND_IN
from recovery.postgres.repair.predicates import EVERY_ROW, Predicate, all_filled, by_writers
from recovery.postgres.repair.rules import Rules
from recovery.postgres.repair.scan import Ask, Side, extent, holds_between, rows_by_key, stream, whole_rows

NEW_ROWS_SHOWN = 1_000
LOGGED_AHEAD = 32  # SEQ_LOG_VALS: a restored sequence stands up to so many numbers ahead
MAYBE_AN_OLD_VERSION = "its table has no key, and rows written since T may be newer versions of it: see --mode beside"
NO_KEY_TO_DELETE_BY = "its table has no key, so which of several equal rows to delete is not known"


@dataclass(frozen=True)
class Reissued:
    """A sequence that stands behind numbers which T had: place of the key, the last number it gave out, and whether it
    was further at T for certain."""

    place: int
    last: int
    certain: bool


@dataclass(frozen=True)
class Compared:
    """One table of the comparison: its columns on both sides, its place in the change set, how it was compared."""

    columns: Columns
    shape: Shape
    sides: Sides
    engine: Engine
    because: str = ""


@dataclass
class Comparison:
    """Both sides and what is being found out. `live` is in one repeatable-read transaction, the copy stands still."""

    live: Session
    copy: Session
    then: Catalog
    now: Catalog
    rules: Mapping[TableName, Rules]
    lineage: Lineage | None
    changes: ChangeSet
    request: RepairRequest
    ask: Ask = stream
    tables: dict[TableName, Compared] = field(default_factory=dict)
    new_rows: dict[TableName, int] = field(default_factory=dict)
    exact: set[TableName] = field(default_factory=set)
    unexamined: set[TableName] = field(default_factory=set)
    not_compared: dict[TableName, str] = field(default_factory=dict)
    _written: dict[TableName, bool] = field(default_factory=dict)
    notices: dict[str, None] = field(default_factory=dict)

    def sides(self, columns: Columns, where: tuple[Predicate, Predicate] | None = None) -> Sides:
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
            Side(self.live, columns.live.name, tuple(columns.now[i] for i in key), columns.now, now_where),
            limited=where is not None,
        )

    def add_table(self, columns: Columns, sides: Sides, engine: Engine, because: str = "") -> Compared:
        """A place for the table's rows in the change set."""
        shape = self.changes.add_table(columns.live.name, columns.live.key, columns.columns)
        compared = Compared(columns, shape, sides, engine, because)
        self.tables[columns.live.name] = compared
        return compared

    def notice(self, text: str) -> None:
        """Something the plan must tell, once."""
        self.notices[text] = None

    def compare_table(self, columns: Columns, where: tuple[Predicate, Predicate] | None = None) -> None:
        """Find every differing row of one table."""
        sides = self.sides(columns, where)
        if not columns.key:
            self._compare_keyless(self.add_table(columns, sides, Engine.WHOLE_ROWS))
            return
        compared = self.add_table(columns, sides, Engine.BUCKETS)
        engine = find_suspects(sides, self.lineage, self.changes, compared.shape.no)
        self.tables[columns.live.name] = replace(compared, engine=engine)
        for keys in self.changes.suspects(compared.shape.no):
            self.changes.add(self._kept(compared, self.look_up(compared, keys)))

    def try_to_compare(self, columns: Columns, where: tuple[Predicate, Predicate] | None = None) -> None:
        """The same; a table that the servers cannot read or compare is set aside with their words."""
        name = columns.live.name
        try:
            with self.live.transaction():
                self.compare_table(columns, where)
        except ROW_ERRORS as error:
            self.not_compared[name] = server_words(error)
            if compared := self.tables.pop(name, None):
                self.changes.forget(compared.shape.no)

    def compare_referencing(self, compared: Compared, places: Sequence[int]) -> None:
        """Find the rows of a followed table that held a reference in the columns at `places` at T and differ now: of a
        parent that is loaded whole, every row was lost."""
        then, now = ([fields[i].name for i in places] for fields in (compared.columns.then, compared.columns.now))
        no, sides = compared.shape.no, self.sides(compared.columns, (all_filled(then), all_filled(now)))
        find_suspects(sides, self.lineage, self.changes, no)
        for keys in self.changes.suspects(no):
            rows = self.look_up(compared, keys)
            self.changes.add(row for row in rows if row.target and all(row.target[i] is not None for i in places))

    def _compare_keyless(self, compared: Compared) -> None:
        """Without a key a changed row is a lost and a new one. Where the incident is known to have written everything
        that was written since T, all its rows leave, and all that T had beside the others come back."""
        sides, no = compared.sides, compared.shape.no
        if not self._only_by_incident(sides):
            self.changes.add(self._kept(compared, compare_whole_rows(sides, no)))
            return
        assert self.lineage
        theirs, others = by_writers(sides.now.where, list(writers_since(sides.now, self.lineage)))
        self.exact.add(compared.columns.live.name)
        self.changes.add(compare_whole_rows(replace(sides, now=replace(sides.now, where=others)), no))
        for n, (xmin, _, *values) in enumerate(whole_rows(replace(sides.now, where=theirs))):
            row = tuple(values)
            self.changes.add([Change(no, (*row, f"written {n}"), RowClass.NEW, None, row, int(xmin or 0), Op.DELETE)])

    def _only_by_incident(self, sides: Sides) -> bool:
        if self.request.mode is not Mode.REPAIR or self.lineage is None:
            return False
        return all(self.request.names(xmin) for xmin in writers_since(sides.now, self.lineage))

    def look_up(self, compared: Compared, keys: list[Texts]) -> Iterator[Change]:
        """The rows of `keys` on both sides, those that differ. Which rows are the same, the servers say: keys may be
        equal and yet print differently (citext, nondeterministic collations, numeric)."""
        positions = compared.columns.key
        then, now = compared.sides.then, compared.sides.now
        at_target = {place: row for place, _, row in rows_by_key(then, keys)}
        live = {place: (int(xmin), row) for place, xmin, row in rows_by_key(now, keys)}
        for place in range(len(keys)):
            target, current = at_target.get(place), live.get(place)
            row = current[1] if current else target
            if row and (change := differing(compared.shape.no, tuple(row[i] for i in positions), target, current)):
                yield change

    def _kept(self, compared: Compared, changes: Iterable[Change]) -> Iterator[Change]:
        """All but the bulk of the new rows, of which only a replacement needs more than their number."""
        name = compared.columns.live.name
        likeness = likeness_of(compared.columns, self.now)
        for change in changes:
            if change.kind is RowClass.NEW:
                if likeness and change.live and (mark := likeness.of(change.live)):
                    self.changes.note_new([mark])
                self.new_rows[name] = self.new_rows.get(name, 0) + 1
                if self.request.mode is not Mode.REPLACE and self.new_rows[name] > NEW_ROWS_SHOWN:
                    continue
            yield change

    def attribute_and_resolve(self) -> None:
        """Say of every row who changed it and what the mode does with it."""
        incident = frozenset(self.request.incident_xids)
        for compared in self.tables.values():
            no, effect = compared.shape.no, Effect()
            for change in self.changes.changes(no, kinds=[RowClass.CHANGED]):
                if change.xmin in incident and change.target and change.live:
                    effect.learn(change.target, change.live)
            name = compared.columns.live.name
            entity = self.entity(compared)
            request = self._request_for(compared)
            self.changes.insert_lost(no)
            if request.mode is Mode.REPLACE:
                self.changes.delete_new(no)
            self.changes.update(
                resolve(attribute(change, effect, entity, incident), request, effect)
                for change in self.changes.changes(no, kinds=[RowClass.CHANGED])
            )
            if compared.engine is Engine.WHOLE_ROWS and name not in self.exact:
                self._refuse_without_key(no, renewed=self._renewed(compared.columns))
            self._tell_doubt(compared, entity)
            self._refuse_moved(compared)
            if added := compared.columns.added:
                block(
                    self.changes,
                    no,
                    Op.DELETE,
                    f"its column {added[0]} was added since T, so undo could not bring it back",
                )

    def _refuse_moved(self, compared: Compared) -> None:
        """A row that was only given another key, or moved to another partition, is not put back beside itself."""
        likeness = likeness_of(compared.columns, self.now)
        if likeness is None or self.request.mode is Mode.REPLACE:
            return
        planned = self.changes.changes(compared.shape.no, ops=[Op.INSERT])
        self.changes.update(
            blocked(change, MAYBE_MOVED)
            for change in planned
            if change.target and (mark := likeness.of(change.target)) and self.changes.noted(mark)
        )

    def _request_for(self, compared: Compared) -> RepairRequest:
        """Nobody asked for a followed table to be replaced: only what was lost or hit by the incident comes back."""
        if compared.engine is Engine.FOLLOWED and self.request.mode is Mode.REPLACE:
            mode = Mode.REPAIR if self.request.incident_xids else Mode.MISSING
            return self.request.model_copy(update={"mode": mode})
        return self.request

    def _tell_doubt(self, compared: Compared, entity: Entity) -> None:
        """Where one column is all that could tell an entity from another, an edit and another entity look alike."""
        name = compared.columns.live.name
        children = sorted({str(k.child) for k in self.now.foreign_keys if name in k.parent_tables and k.child != name})
        if len(entity.own) != 1 or not children:
            return
        doubtful = sum(
            1 for change in self.changes.changes(compared.shape.no, kinds=[RowClass.CHANGED, RowClass.NEWER])
            if change.op is Op.KEEP
        )  # fmt: skip
        if doubtful:
            column = compared.columns.columns[entity.own[0]]
            self.notice(
                f"{doubtful:,} rows of {name} differ from T in {column}, their only column beside the key: whether they"
                f" are the same entities cannot be told, and rows of {', '.join(children)} go to them"
            )

    def entity(self, compared: Compared) -> Entity:
        """What tells one entity of a table from another, by its definitions and by what happened to it since T."""
        name, again = compared.columns.live.name, self._reissued(compared.columns)
        left: dict[int, set[Texts]] = {}
        rows: Counter[int] = Counter()
        own = [i for i in range(len(compared.columns.columns)) if i not in compared.columns.key]
        for change in self.changes.changes(compared.shape.no, kinds=[RowClass.CHANGED]):
            if change.xmin is not None and change.live is not None:
                rows[change.xmin] += 1
                if len(values := left.setdefault(change.xmin, set())) < 2:
                    values.add(tuple(change.live[i] for i in own))
        return replace(
            entity_of(compared.columns, self.rules[name]),
            reissued=(again.place, again.last) if again and again.certain else None,
            renumbered=again is not None,
            renewed=self._renewed(compared.columns),
            rewriters=frozenset(xid for xid, values in left.items() if len(values) == 1 and rows[xid] > 1),
        )

    def _renewed(self, columns: Columns) -> bool:
        """Whether the table was emptied since T: its file is a new one, and every row in it was written since."""
        if self.lineage is None or columns.at_target.file_node == columns.live.file_node:
            return False
        now = self.sides(columns).now
        return sum(writers_since(now, self.lineage).values()) == extent(now)[0]

    def written_since(self, columns: Columns) -> bool:
        """Whether anybody wrote rows of a table since T, as far as that can be excluded."""
        if self.lineage is None:
            return True
        if columns.live.name not in self._written:
            self._written[columns.live.name] = bool(writers_since(self.sides(columns).now, self.lineage))
        return self._written[columns.live.name]

    def _reissued(self, columns: Columns) -> Reissued | None:
        """Where the key's sequence gives numbers out for a second time: T had rows with numbers that it still has
        before it. Where it stood at T says too much: a restored one stands up to 32 ahead (SEQ_LOG_VALS)."""
        for counter in self.now.sequences:
            at_target = next((c for c in self.then.sequences if c.name == counter.name), None)
            key = [columns.columns[i] for i in columns.key]
            if counter.table != columns.live.name or key != [counter.column] or not counter.integers:
                continue
            stands = counter.last_value or counter.minimum - 1
            beyond = (at_target.last_value if at_target else None) or stands
            then = self.sides(columns).then
            if counter.increment > 0 and beyond > stands and holds_between(then, then.key[0], stands + 1, beyond):
                return Reissued(columns.key[0], stands, certain=beyond - LOGGED_AHEAD * counter.increment > stands)
        return None

    def _refuse_without_key(self, no: int, *, renewed: bool) -> None:
        """Without a key a changed row looks like a lost and a new one: never put the old version beside the new.
        `renewed`: all rows are new, and none a version of another."""
        tally = self.changes.tally(no)
        if any(kind is RowClass.NEW for kind, _ in tally) and not renewed:
            block(self.changes, no, Op.INSERT, MAYBE_AN_OLD_VERSION)
        block(self.changes, no, Op.DELETE, NO_KEY_TO_DELETE_BY)

    def rows_at_target(self, name: TableName) -> int:
        """Rows in scope at T."""
        then = self.tables[name].sides.then
        return extent(Side(self.copy, then.table, (), (), then.where, self.ask))[0]


def block(changes: ChangeSet, no: int, op: Op, reason: str) -> None:
    """Turn every planned write of one kind into a blocked row."""
    changes.update(blocked(change, reason) for change in changes.changes(no, ops=[op]))


def blocked(change: Change, reason: str) -> Change:
    """The row stays as it is, for `reason`; one that was found elsewhere is not lost."""
    kind = RowClass.MOVED if reason.startswith(FOUND_IN) else RowClass.BLOCKED
    return Change(
        change.table, change.key, kind, change.target, change.live, change.xmin, Op.KEEP, None, reason,
        change.n,
    )  # fmt: skip


def entity_of(columns: Columns, rules: Rules) -> Entity:
    """What tells one entity from another in a table."""
    at = {name: i for i, name in enumerate(columns.columns)}
    distinct = []
    for rule in rules.distinct:
        plain = len(rule.columns) == len(rule.expressions) and set(rule.columns) <= at.keys()
        if rule.predicate is None and plain and set(rule.columns) != set(columns.live.key):
            distinct.append(tuple(at[name] for name in rule.columns))
    own = tuple(i for i in range(len(columns.columns)) if i not in columns.key)
    return Entity(own, tuple(distinct))
