"""Compare T with now: find what differs in every table of the scope, follow it along foreign keys, attribute it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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
from recovery.postgres.repair.lineage import Lineage
from recovery.postgres.repair.predicates import EVERY_ROW, Predicate
from recovery.postgres.repair.rules import Rules
from recovery.postgres.repair.scan import Ask, Side, extent, rows_by_key, stream

NEW_ROWS_SHOWN = 1_000
MAYBE_AN_OLD_VERSION = "its table has no key, and rows written since T may be newer versions of it"
NO_KEY_TO_DELETE_BY = "its table has no key, so which of several equal rows to delete is not known"


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
            compared = self.add_table(columns, sides, Engine.WHOLE_ROWS)
            self.changes.add(self._kept(compared, compare_whole_rows(sides, compared.shape.no)))
            return
        compared = self.add_table(columns, sides, Engine.BUCKETS)
        engine = find_suspects(sides, self.lineage, self.changes, compared.shape.no)
        self.tables[columns.live.name] = replace(compared, engine=engine)
        for keys in self.changes.suspects(compared.shape.no):
            self.changes.add(self._kept(compared, self.look_up(compared, keys)))

    def look_up(self, compared: Compared, keys: list[Texts]) -> Iterator[Change]:
        """The rows of `keys` on both sides, those that differ."""
        positions = compared.columns.key
        then, now = compared.sides.then, compared.sides.now
        at_target = {tuple(row[i] for i in positions): row for _, row in rows_by_key(then, keys)}
        live = {tuple(row[i] for i in positions): (int(xmin), row) for xmin, row in rows_by_key(now, keys)}
        for key in keys:
            if change := differing(compared.shape.no, key, at_target.get(key), live.get(key)):
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
            entity = entity_of(compared.columns, self.rules[name], restarted=self._restarted(name))
            request = self._request_for(compared)
            self.changes.insert_lost(no)
            if request.mode is Mode.REPLACE:
                self.changes.delete_new(no)
            self.changes.update(
                resolve(attribute(change, effect, entity, incident), request, effect)
                for change in self.changes.changes(no, kinds=[RowClass.CHANGED])
            )
            if compared.engine is Engine.WHOLE_ROWS:
                self._refuse_without_key(no)
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

    def _restarted(self, name: TableName) -> bool:
        then = {counter.name: counter for counter in self.then.sequences}
        key = self.tables[name].columns.live.key
        return any(
            (then[c.name].last_value or 0) > (c.last_value or 0)
            for c in self.now.sequences
            if c.table == name and c.column in key and c.name in then and c.increment > 0
        )

    def _refuse_without_key(self, no: int) -> None:
        """Without a key a changed row looks like a lost and a new one: never put the old version beside the new."""
        tally = self.changes.tally(no)
        if any(kind is RowClass.NEW for kind, _ in tally):
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
    """The row stays as it is, for `reason`."""
    return Change(
        change.table, change.key, RowClass.BLOCKED, change.target, change.live, change.xmin, Op.KEEP, None, reason,
        change.n,
    )  # fmt: skip


def entity_of(columns: Columns, rules: Rules, *, restarted: bool) -> Entity:
    """What tells one entity from another in a table."""
    at = {name: i for i, name in enumerate(columns.columns)}
    quoted = {name: name for name in at} | {'"' + name.replace('"', '""') + '"': name for name in at}
    distinct = []
    for rule in rules.distinct:
        names = [quoted.get(expression) for expression in rule.expressions]
        if rule.predicate is None and None not in names and set(names) != set(columns.live.key):
            distinct.append(tuple(at[name] for name in names if name))
    own = tuple(i for i in range(len(columns.columns)) if i not in columns.key)
    return Entity(own, tuple(distinct), restarted)
