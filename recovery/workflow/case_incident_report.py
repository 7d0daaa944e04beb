"""Fold a case's journal into the story of an incident. Nothing in it comes from anywhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from recovery.changeset.change_set import WRITES, ChangeSet
from recovery.errors import RowbackError
from recovery.model.incident_report import Happened, Story, TableRows
from recovery.model.outlook import LEAST_BILLED_S, Outlook
from recovery.model.recovery_report import Report, Verification
from recovery.model.repair_plan import TableRepair
from recovery.model.row_class import RowClass
from recovery.model.target import format_utc
from recovery.model.values import counted
from recovery.store.case_directory import Case
from recovery.store.journal import Record
from recovery.workflow.case_account import account_of, not_back_lines, not_deleted_lines
from recovery.workflow.case_lifecycle import STEPS, outcome_of_load
from recovery.workflow.case_report import report_of

TITLES = {step.name: step.title for step in STEPS}
SAMPLES = 3


def story_of(case: Case, records: Sequence[Record]) -> Story:
    """What a case did, as far as its journal goes."""
    report, plan = report_of(case), case.plan
    outlook = Outlook.model_validate(case.noted("outlook")[-1]) if case.noted("outlook") else None
    copy = case.outcome_of("await-copy")
    return Story(
        report=report,
        plan_summary=f"mode {case.request.mode}, {counted(len(plan.tables), 'table')} of '{plan.database}'"
        + (f", rows where {plan.where}" if plan.where else ""),
        incident=(outlook.incident or ()) if outlook else (),
        timeline=tuple(_timeline(records)),
        tables=tuple(_tables(case)),
        whole=tuple(map(str, plan.whole)),
        left_out=tuple(f"{out.name}: {out.reason}" for out in plan.left_out),
        decisions=tuple(_decisions(case)),
        amounts_to=_amounts_to(case, report),
        not_back=tuple(not_back_lines(account_of(case))),
        not_deleted=tuple(not_deleted_lines(account_of(case))),
        proof=tuple(_proof(report.verification)),
        cost=_cost(case, outlook, records),
        leftovers=tuple(_leftovers(report)),
        postgres=str(copy["engine_version"]) if copy else plan.source.engine_version,
    )


Words = tuple[str, Literal["plain", "good", "bad"]]
TIMELINE_WORDS: Mapping[str, Callable[[str, Mapping[str, Any]], Words]] = {
    "case.opened": lambda title, data: (f"case opened, plan {data['plan_digest'][:8]}", "plain"),
    "step.start": lambda title, data: (title, "plain"),
    "step.failed": lambda title, data: (f"stopped: {title}: {data['error']}", "bad"),
    "case.stopped": lambda title, data: (str(data["why"]), "bad"),
    "plan.seconded": lambda title, data: (f"approved by '{data['by']}'", "good"),
    "repair.approved": lambda title, data: (f"repair plan {data['digest'][:8]} approved", "good"),
    "verification": lambda title, data: ("the result was compared with T", "good"),
    "load.portion": lambda title, data: ("a batch of the rows is committed", "plain"),
    "undo.done": lambda title, data: ("what was written is taken back", "bad"),
    "case.closed": lambda title, data: (f"case closed: {data['outcome']}", "plain"),
}


def _timeline(records: Iterable[Record]) -> Iterator[Happened]:
    undone = 0
    for record in records:
        undone += record.event == "undo.done"
        if record.event == "undo.done" and undone % 2 == 0:
            yield Happened(at=record.at, text="what was taken back is put back again", kind="plain")
            continue
        if tell := TIMELINE_WORDS.get(record.event):
            text, kind = tell(TITLES.get(record.step or "", record.step or ""), record.data)
            yield Happened(at=record.at, text=text, kind=kind)


def _tables(case: Case) -> Iterator[TableRows]:
    plan = case.repair_plan
    if plan is None:
        return
    samples = _samples(case.changes_path(plan.number)) if plan.number is not None else {}
    for table in plan.tables:
        counted = {kind.name.lower(): count for kind, count in table.classes.items() if count}
        counted.pop(RowClass.UNCHANGED.name.lower(), None)
        if not counted:
            continue
        yield TableRows(
            table=str(table.name),
            classes=counted,
            inserted=table.inserts,
            updated=table.updates,
            deleted=table.deletes,
            samples=samples.get(str(table.name), ()),
        )


def _samples(path: Path) -> dict[str, tuple[str, ...]]:
    """Keys, not contents: a report goes round."""
    if not path.exists():
        return {}
    samples: dict[str, tuple[str, ...]] = {}
    try:
        with ChangeSet(path) as changes:
            for shape in changes.shapes():
                samples[str(shape.table)] = tuple(
                    ", ".join("null" if text is None else text for text in change.key)
                    for change in changes.changes(shape.no, ops=WRITES, limit=SAMPLES)
                )
    except RowbackError:
        return {}
    return samples


def _amounts_to(case: Case, report: Report) -> str:
    """The outcome; of a case whose rows are proven back and whose copy is still there, what it would be closed with."""
    account = account_of(case)
    if report.verification is None or case.request.reload_mode.beside:
        return report.outcome
    if account.complete:
        return outcome_of_load(case)
    return f"recovered in part: {account.summary}"


def _decisions(case: Case) -> Iterator[str]:
    """What became of rows that were written after T."""
    plan = case.repair_plan
    if plan is None:
        return
    for table in plan.tables:
        for kind in (RowClass.NEWER, RowClass.NEW, RowClass.CHANGED, RowClass.REUSED, RowClass.CONFLICT):
            if count := table.count(kind):
                line = f"{table.name}: {count:,} row{'s' * (count != 1)} {kind.value}"
                yield line + (f", {case.request.on_conflict.value}" if kind is RowClass.CONFLICT else "")
        if table.loses and case.request.reload_mode.overwrites_newer:
            yield f"{table.name}: {table.loses:,} of them LOST what was written after T (mode {case.request.mode})"
        elif not table.loses:
            yield from (f"{table.name}: all of these are kept",) if _later(table) else ()
    yield from plan.notices


def _later(table: TableRepair) -> int:
    return sum(table.count(kind) for kind in (RowClass.NEWER, RowClass.NEW, RowClass.CHANGED, RowClass.REUSED))


def _proof(proof: Verification | None) -> Iterator[str]:
    if proof is None:
        yield "nothing was proven"
        return
    yield f"{proof.rows:,} rows are as they were at T"
    yield f"{proof.foreign_keys_checked} foreign keys were checked, {proof.dangling_references} are broken"
    outside = ", ".join(proof.changed_outside_scope)
    yield f"outside the scope: {outside} CHANGED" if outside else "outside the scope no row was touched"
    if proof.not_compared_again:
        yield f"not compared with T once more after the commit: {proof.not_compared_again}"
    for check in proof.references:
        yield f"{check.reference}: {check.dangling:,} of {check.touched:,} touched keys dangle"


def _cost(case: Case, outlook: Outlook | None, records: Sequence[Record]) -> str:
    """From the start of the copy to its removal, at the price that was known at the beginning."""
    times = {(r.event, r.step): r.at for r in records}
    begun, ended = times.get(("step.done", "start-copy")), times.get(("step.done", "remove-copy"))
    if begun is None:
        return "none: no copy was made"
    if ended is None:
        return "not known yet: the copy is still there"
    if outlook is None or outlook.cost is None:
        return "not known: nobody told a price"
    lived_s = max((ended - begun).total_seconds(), LEAST_BILLED_S)
    usd = outlook.cost.price.hourly(case.plan.source.allocated_gib) * lived_s / 3600
    return f"about ${usd:,.2f} for the copy ({outlook.cost.price.source})"


def _leftovers(report: Report) -> Iterator[str]:
    if not report.copy_removed:
        yield f"copy {report.copy_instance}"
    if report.before_images:
        yield f"before-images in schema {report.before_images}: drop it when you are sure"
    for name in report.not_put_back:
        yield f"{name} was dropped since T ({format_utc(report.target_time)}) and is not back"
