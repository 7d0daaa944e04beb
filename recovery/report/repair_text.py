"""Repair plans and their rows as text for people, and as CSV or JSON for programs."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from guards.plain_text import joined
from recovery.changeset.block_rows import blocked
from recovery.changeset.change_set import ChangeSet
from recovery.changeset.row_change import Change, Shape, decoding
from recovery.model.plain_index import named_indexes
from recovery.model.repair_plan import DetectionMethod, RepairPlan, TableRepair
from recovery.model.row_class import RowClass
from recovery.model.values import counted
from recovery.report.report_text import MOST_SHOWN, columns, few

TOLD_WRITERS = 8
SHOWN_WIDTH = 40
TABLE_LOCKED_S, ROW_LOCKED_S = 0.003, 0.00005


def repair_text(plan: RepairPlan, *, title: str = "repair plan", most: int = MOST_SHOWN) -> str:
    """What differs from T, who wrote it, and what will be written.

    Of more tables than `most` those that are written to most are shown.
    """
    kinds = [kind for kind in RowClass if any(table.count(kind) for table in plan.tables)]
    shown = [table for table in plan.tables if table.writes or any(table.count(k) for k in kinds[1:])]
    quiet = sum(t.engine is not DetectionMethod.FOLLOWED for t in plan.tables if t not in shown)
    rows = [("table", *(str(kind) for kind in kinds), "writes", "found by")]
    rows += [
        (str(t.name), *(f"{t.count(kind):,}" if t.count(kind) else "·" for kind in kinds), _writes(t), _class_counts(t))
        for t in shown
    ]
    if (more := len(shown) - most) > 0:
        rows = [
            rows[0],
            *(row for _, row in sorted(zip(shown, rows[1:], strict=True), key=lambda p: -p[0].writes)[:most]),
        ]
    what = counted(plan.made_anew, "object") + " to make" if plan.made_anew else ""
    lines = [
        f"{title} {plan.digest[:8]}: mode {plan.request.mode}, {what or counted(plan.writes, 'row') + ' to write'}",
        "",
        *([] if plan.made_anew else columns(rows)),
    ]
    if more > 0:
        lines.append(f"  and {more:,} more tables that differ: --all lists them")
    if quiet:
        lines.append(f"  and {quiet} tables that were compared and hold what they held at T")
    if plan.made_anew:
        lines += ["", "  made anew:", *_recreated(plan, most)]
    if plan.filled and not plan.made_anew:
        names = [str(name) for name in plan.filled]
        remainder = f" and {len(names) - most:,} more" if len(names) > most else ""
        lines += ["", f"  loaded whole, into empty tables: {', '.join(names[:most])}{remainder}"]
    for table in plan.tables:
        lines += [f"  {table.name}: {note}" for note in table.mapped]
    lines += _writers(plan)
    facts = [
        ("locks", _locks(plan)),
        (
            "triggers",
            "held back: "
            + ", ".join(few([f"{t.name} on {t.table}" for t in plan.held_triggers]))
            + " (at T they have fired already)"
            if plan.held_triggers
            else "none to hold back",
        ),
        *_load(plan),
        ("WAL", f"about {plan.wal_bytes_estimated / 2**20:,.1f} MiB"),
        ("undo", "rowback undo drops exactly this, as long as nobody has used it since")
        if plan.made_anew
        else ("before-images", "of every row, in the database and in the case's directory; rowback undo takes it back"),
        *(("notice", line) for line in plan.notices),
    ]
    if plan.loses:
        facts.append(("LOSES", f"what was written after T to {counted(plan.loses, 'row')}"))
    return joined([*lines, "", *columns(facts)])


def _recreated(plan: RepairPlan, most: int) -> list[str]:
    """How many of each kind, and the first ones by name."""
    kinds = Counter(each.kind.lower() for each in plan.recreated)
    kinds += Counter(line.split(" ", 1)[0] for lost in plan.parts for line in lost.lines())
    kinds += Counter("schema" for _ in plan.schemas)
    names = [line for lost in plan.parts for line in lost.lines()]
    names += map(str, (*plan.schemas, *plan.recreated))
    more, names = len(names) - most, names[:most]
    return [
        *(f"    {name}" for name in names),
        *([f"    and {more:,} more"] if more > 0 else []),
        "    in all: " + ", ".join(f"{kind} {count:,}" for kind, count in kinds.most_common()),
    ]


def _locks(plan: RepairPlan) -> str:
    if plan.made_anew and plan.parts:
        return (
            "none while rows and values come; then ACCESS EXCLUSIVE on tables that get columns back, for as long as"
            " every row of them is written once; one transaction"
        )
    if plan.made_anew:
        return "none while rows come; at the end, on tables that are there and get something back; one transaction"
    if plan.swapped:
        return "ACCESS EXCLUSIVE for milliseconds on the tables, and on those at the other ends of their foreign keys"
    return (
        "SHARE ROW EXCLUSIVE on the tables written to, about"
        f" {_locked_s(plan):,.1f} s beside what whole tables take; one transaction"
    )


def _load(plan: RepairPlan) -> list[tuple[str, str]]:
    if plan.swapped:
        return [
            ("load", "built under hidden names with all that depends on them, then exchanged (swap);"),
            ("", "readers and writers go on meanwhile, and what they write is kept"),
        ]
    if not plan.rebuilt:
        return []
    return [("indexes", f"dropped before the rows come, built after them: {named_indexes(plan.rebuilt)}")]


def _writers(plan: RepairPlan) -> list[str]:
    if not plan.writers:
        return []
    rows = [
        (
            f"transaction {w.xid}",
            f"{counted(w.rows, 'row')} of {w.table}",
            f"columns {', '.join(w.columns)}",
            "the incident" if w.xid in plan.request.incident_xids else "",
        )
        for w in plan.writers[:TOLD_WRITERS]
    ]
    unsaid = len(plan.writers) - TOLD_WRITERS
    rest = [f"  and {counted(unsaid, 'transaction')} more that changed fewer rows"] if unsaid > 0 else []
    return ["", "changed since T by:", *columns(rows), *rest]


def _locked_s(plan: RepairPlan) -> float:
    """What was measured on two cores: so much a table, and so much a row (benchmarks/repair_bench.py)."""
    written = [table for table in plan.tables if table.writes]
    return len(written) * TABLE_LOCKED_S + sum(table.writes for table in written) * ROW_LOCKED_S


def row_records(
    changes: ChangeSet, kinds: Sequence[RowClass], limit: int | None, late: Mapping[int, str]
) -> Iterator[Mapping[str, object]]:
    """The differing rows of some classes: table, key, class, what will be done, both versions, the reason.

    `late`: rows (number → reason) that were planned and left alone when they were to be written; they count as
    blocked, or as gone.
    """
    shapes = {shape.no: shape for shape in changes.shapes()}
    for change in islice(_of_classes(changes, kinds, late), limit):
        with decoding():
            record = _record(shapes[change.table], change)
        yield record


def count_records(changes: ChangeSet, kinds: Sequence[RowClass], late: Mapping[int, str]) -> int:
    """How many records row_records gives without a limit."""
    if late and kinds:
        return sum(1 for _ in _of_classes(changes, kinds, late))
    counts = (changes.classes(shape.no) for shape in changes.shapes())
    return sum(rows for each in counts for kind, rows in each.items() if not kinds or kind in kinds)


def _of_classes(changes: ChangeSet, kinds: Sequence[RowClass], late: Mapping[int, str]) -> Iterator[Change]:
    classes = [] if late else kinds  # what was planned is of any class
    listed = (_as_left(change, late) for change in changes.changes(kinds=classes))
    return (change for change in listed if not kinds or change.kind in kinds)


def _as_left(change: Change, late: Mapping[int, str]) -> Change:
    reason = late.get(change.n) if change.n is not None else None
    return blocked(change, reason) if reason else change


def records_csv(records: Iterable[Mapping[str, object]]) -> str:
    """Records as CSV; key and rows are JSON objects."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["table", "key", "class", "op", "xmin", "at_target", "now", "reason"])
    for record in records:
        writer.writerow(
            [
                value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
                for value in record.values()
            ]
        )
    return out.getvalue().rstrip("\n")


def records_text(records: Iterable[Mapping[str, object]]) -> str:
    """Records for people: the key, and only the columns that differ."""
    lines = []
    for record in records:
        then, now = record["at_target"], record["now"]
        assert isinstance(record["key"], dict)
        key = ", ".join(f"{name}={value}" for name, value in record["key"].items())
        reason = f" ({record['reason']})" if record["reason"] else ""
        lines.append(f"{record['table']} {key}: {record['class']}, {record['op']}{reason}")
        for side, row, other in (("at T", then, now), ("now ", now, then)):
            if isinstance(row, dict):
                values = [
                    f"{name}={_short(value)}"
                    for name, value in row.items()
                    if not isinstance(other, dict) or other.get(name) != value
                ]
                lines.append(f"    {side}  {', '.join(values)}")
    return joined(lines) or "no such rows"


def table_text(names: Iterable[str], rows: Iterable[tuple[str | None, ...]]) -> str:
    """A query's result with aligned columns."""
    shown = [tuple("null" if value is None else value for value in row) for row in rows]
    return joined(columns([tuple(names), *shown]) + [f"({counted(len(shown), 'row')})"])


def table_csv(names: Iterable[str], rows: Iterable[tuple[str | None, ...]]) -> str:
    """A query's result as CSV; null is an empty field."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([tuple(names), *rows])
    return out.getvalue().rstrip("\n")


def _record(shape: Shape, change: Change) -> dict[str, object]:
    def row(values: tuple[str | None, ...] | None) -> dict[str, str | None] | None:
        return None if values is None else dict(zip(shape.columns, values, strict=True))

    key = dict(zip(shape.key, change.key, strict=True)) if shape.key else {"row": change.key[-1]}
    return {
        "table": str(shape.table),
        "key": key,
        "class": change.kind.value,
        "op": change.op.value,
        "xmin": change.xmin,
        "at_target": row(change.target),
        "now": row(change.original),
        "reason": change.reason,
    }


def _writes(table: TableRepair) -> str:
    parts = [(table.inserts, "insert"), (table.updates, "update"), (table.deletes, "delete")]
    return ", ".join(f"{count:,} {word}" for count, word in parts if count) or "none"


def _class_counts(table: TableRepair) -> str:
    return f"{table.engine}" + (f" ({table.because})" if table.because else "")


def _short(value: str | None) -> str:
    if value is None:
        return "null"
    return value if len(value) <= SHOWN_WIDTH else f"{value[:SHOWN_WIDTH]}… ({len(value)} characters)"
