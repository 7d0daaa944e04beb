"""From two servers to a repair plan: compare, follow, attribute, resolve, foresee, ask what may be loaded whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recovery.changeset.change_set import ChangeSet
from recovery.changeset.column_mapping import ColumnMapping
from recovery.changeset.move_targets import elsewhere_of
from recovery.changeset.preflight import WriteOutlook, foresee
from recovery.compare.attribution import incident_of, refuse_unknown_incident, writers_of
from recovery.compare.edited_csv import apply_decisions
from recovery.compare.foreign_key_traversal import (
    ForeignKeyLink,
    follow,
    follow_whole,
    links,
    note_lost_references,
    predicates,
)
from recovery.compare.full_tables import open_questions
from recovery.compare.inquiry import Inquiry
from recovery.compare.map_tables import map_tables
from recovery.compare.plan_summary import ComparisonResult, dropped_values, gone_notices, hit_in_between, repair_plan
from recovery.compare.row_verdicts import attribute_and_resolve
from recovery.compare.table_diff import Comparison
from recovery.model.catalog import Catalog
from recovery.model.recovery_plan import Why
from recovery.model.repair_plan import RepairPlan
from recovery.model.values import TableName
from recovery.postgres.comparison.predicates import NO_ROW, Predicate
from recovery.postgres.comparison.row_lineage import lineage_of
from recovery.postgres.comparison.table_scan import Ask, stream
from recovery.postgres.connect import Session
from recovery.postgres.read_catalog import read_catalog
from recovery.postgres.staging.row_constraints import Rules, read_rules


@dataclass(frozen=True)
class Both:
    """Both sides of a comparison: sessions, definitions, the tables that can be compared and why others cannot."""

    original: Session
    copy: Session
    then: Catalog
    now: Catalog
    mapped: Mapping[TableName, ColumnMapping]
    unfit: Sequence[str]
    unlogged: Sequence[str]
    ask: Ask

    @classmethod
    def read(cls, original: Session, copy: Session, inquiry: Inquiry, ask: Ask) -> Both:
        """Read both catalogs. Raises schema-drift."""
        then, now = read_catalog(copy), read_catalog(original)
        unlogged = {table.name for table in then.tables if table.unlogged}
        mapped, unfit = map_tables(inquiry, then, now, copy)
        unlogged_names = [str(table.name) for table in inquiry.plan.tables if table.name in unlogged - mapped.keys()]
        return cls(original, copy, then, now, mapped, unfit, unlogged_names, ask)

    def comparison(self, inquiry: Inquiry, changes: ChangeSet, rules: Mapping[TableName, Rules]) -> Comparison:
        """Nothing compared yet."""
        lineage = None if inquiry.boundary is None else lineage_of(self.original, self.copy, inquiry.boundary)
        return Comparison(
            self.original, self.copy, self.then, self.now, rules, lineage, changes, inquiry.request, self.ask
        )


def make_repair_plan(
    original: Session, copy: Session, inquiry: Inquiry, changes: ChangeSet, *, ask: Ask = stream
) -> RepairPlan:
    """Compare everything and fill `changes`.

    Reads only; the original's rows are seen in one snapshot. `ask`: how the copy's checksums are read, which may be
    remembered.

    Raises schema-drift when columns of a named table cannot be mapped, incident-unknown when rows changed and no
    transaction was named that changed them.
    """
    with original.transaction(force_rollback=True):
        _begin_reading(original, copy)
        both = Both.read(original, copy, inquiry, ask)
        filled = {name for name in inquiry.filled if name in both.mapped}
        while True:
            outcome, questions = _compare(both, inquiry, changes, filled)
            if not questions:
                filled_in_order = [name for name in inquiry.filled if name in filled]
                return repair_plan(outcome, inquiry.case, inquiry.number, filled_in_order, both.unfit)
            filled -= questions.keys()
            changes.clear()


def compare_again(
    original: Session, copy: Session, inquiry: Inquiry, changes: ChangeSet, *, ask: Ask = stream
) -> Comparison:
    """The comparison alone, into a change set of its own: no verdicts, no plan.

    `inquiry.filled` were loaded whole, and count as lost for what they lead to.
    """
    with original.transaction(force_rollback=True):
        _begin_reading(original, copy)
        both = Both.read(original, copy, inquiry, ask)
        whole = {name: mapping for name, mapping in both.mapped.items() if name in set(inquiry.filled)}
        columns = {name: mapping for name, mapping in both.mapped.items() if name not in whole}
        comparison = both.comparison(inquiry, changes, {})
        _compare_all(comparison, inquiry, columns, whole, links(both.then, both.now, both.mapped))
    return comparison


def _begin_reading(original: Session, copy: Session) -> None:
    """One snapshot of the original; and rows are grouped by hash, because the servers misjudge how many groups come."""
    original.execute("set transaction isolation level repeatable read")
    original.execute("set local enable_sort = off")
    copy.execute("set enable_sort = off")


def _compare(
    both: Both, inquiry: Inquiry, changes: ChangeSet, filled: set[TableName]
) -> tuple[ComparisonResult, Mapping[TableName, str]]:
    """One comparison in which the tables `filled` are loaded whole; with those of them that must not be, and why."""
    original, copy, then, now, mapped = both.original, both.copy, both.then, both.now, both.mapped
    columns = {name: mapping for name, mapping in mapped.items() if name not in filled}
    whole = {name: mapping for name, mapping in mapped.items() if name in filled}
    rules = read_rules(original, [mapping.original for mapping in mapped.values()])
    at_target = read_rules(copy, [mapping.at_target for mapping in mapped.values()])
    rules_then = {name: at_target[mapping.at_target.name] for name, mapping in mapped.items()}
    comparison = both.comparison(inquiry, changes, rules)
    for name in both.unlogged:
        comparison.notice(f"{name} was unlogged at T, so no backup holds its rows")
    ways = links(then, now, mapped)
    _compare_all(comparison, inquiry, columns, whole, ways)
    writers = writers_of(comparison)
    incident = incident_of(comparison, inquiry.request, writers, inquiry.repaired)
    comparison.request = inquiry.request.model_copy(update={"incident_xids": tuple(sorted(incident.xids))})
    attribute_and_resolve(comparison)
    note_lost_references(comparison, whole, ways)
    columns_lost = dropped_values(copy, mapped)
    named = {table.name for table in inquiry.plan.tables if table.why is Why.NAMED}
    concerned = {str(name) for name in named | filled | comparison.with_losses()}
    hit_rows = hit_in_between(comparison, incident)
    dropped = [*gone_notices(inquiry.gone), *map(str, columns_lost)]
    refuse_unknown_incident(comparison, inquiry.case, inquiry.request, writers, dropped, inquiry.anew)
    apply_decisions(changes, inquiry.decisions)
    excepted = [out.name for out in inquiry.plan.left_out]
    elsewhere = elsewhere_of(original, then, now, [mapping.original for mapping in mapped.values()], excepted)
    lifted = foresee(
        original, now, changes, WriteOutlook(rules, rules_then, sorted(filled, key=lambda name: name.key), elsewhere)
    )
    mapping = ComparisonResult(
        comparison,
        incident,
        writers,
        inquiry.request,
        dropped,
        frozenset(mapped),
        lifted,
        (*(each for each in columns_lost if each.table in concerned), *hit_rows),
    )
    return mapping, open_questions(comparison, whole, rules_then, elsewhere)


def _compare_all(
    comparison: Comparison,
    inquiry: Inquiry,
    columns: Mapping[TableName, ColumnMapping],
    whole: Mapping[TableName, ColumnMapping],
    ways: Sequence[ForeignKeyLink],
) -> None:
    where = inquiry.plan.where
    requested_reasons = [Why.NAMED] if where is not None else [why for why in Why if why is not Why.FOLLOWED]
    roots = [table.name for table in inquiry.plan.tables if table.why in requested_reasons and table.name in columns]
    limits: dict[TableName, tuple[Predicate, Predicate]] = {}
    if where is not None:
        back_then = predicates([columns[name].at_target.name for name in roots], where, comparison.then)
        today = predicates(roots, where, comparison.now)
        for name, mapping in columns.items():
            either = (back_then.get(mapping.at_target.name), today.get(name))
            if any(limit is not None for limit in either):
                limits[name] = (either[0] or NO_ROW, either[1] or NO_ROW)
        roots = list(limits)
    named = {table.name for table in inquiry.plan.tables if table.why is Why.NAMED}
    for name in roots:
        compare = comparison.compare_table if name in named else comparison.try_to_compare
        compare(columns[name], limits.get(name))
    compared_tables = comparison.tables.keys() | comparison.not_compared.keys()
    followed = {name: mapping for name, mapping in columns.items() if name not in compared_tables}
    follow_whole(comparison, followed, whole, ways)
    follow(comparison, followed, ways)
