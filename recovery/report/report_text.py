"""Plans, reports and cases as text for people. The JSON twins are the models' own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from guards.plain_text import joined, plain
from recovery.model.load_strategy import LOADS
from recovery.model.recovery_plan import RecoveryPlan, Transport
from recovery.model.recovery_report import ReferenceCheck, RepairProof, Report, TableProof, Verification
from recovery.model.target import format_utc
from recovery.model.values import counted
from recovery.postgres.beside_tables import beside_schema
from recovery.store.case_directory import Case
from recovery.workflow.case_account import not_back_lines, not_deleted_lines

LOCKS = "SHARE ROW EXCLUSIVE on the tables written to (reading goes on, writing waits),"
LOCKS_ANEW = "none while rows come; at the end on tables that are there and get something back,"
MOST_SHOWN, FEW, EVERY = 60, 12, 2**31


def plan_text(plan: RecoveryPlan, *, most: int = MOST_SHOWN) -> str:
    """What will happen, blast radius first. Of more tables than `most` the kinds are counted instead."""
    source, settings = plan.source, plan.copy_settings
    rows = f" where {plan.where}" if plan.where else ""
    anew = plan.request.reload_mode.anew
    lines = [
        f"plan {plan.digest[:8]}: {_what(plan)} on '{source.identifier}' {'' if anew else 'back '}as of"
        f" {format_utc(plan.target_time)} (mode {plan.request.mode}{rows})",
        "",
        *([] if anew else _tables(plan, most)),
    ]
    if plan.left_out:
        lines += ["", "stays as it is:", *columns([(str(out.name), out.reason) for out in plan.left_out[:most]])]
        lines += _and_more(len(plan.left_out) - most)
    how = "pg_dump, then COPY" if plan.transport is Transport.DUMP and not anew else "COPY, streamed"
    groups = ", ".join(settings.security_group_ids) or "none"
    network = f"subnet group {settings.subnet_group or 'default'}, security groups {groups}"
    lines += [
        "",
        *columns(
            [
                ("window", f"{format_utc(plan.window.earliest)} to {format_utc(plan.window.latest)}"),
                ("copy", f"{settings.instance_class}, PostgreSQL {source.engine_version}, {network},"),
                ("", "not public, no backups of its own, default parameter group, random password, made inert;"),
                ("", f"tagged to expire after {settings.expires_after_hours} h, removed at the end"),
                ("rows", f"{how}; foreign keys: {plan.foreign_key_mode.value}"),
                *([("load", LOADS[plan.load])] if plan.whole else []),
                ("locks", LOCKS_ANEW if anew else LOCKS),
                ("", f"tried {plan.lock_attempts} times for {plan.lock_timeout_ms} ms; one transaction"),
                ("triggers", _or_none(few([f"{t.name} on {t.table}" for t in plan.held_triggers]), "held back: ")),
                ("sequences", f"{len(plan.sequences)}, moved forward only"),
                ("never", f"'{source.identifier}' itself is not restored, modified, rebooted or deleted"),
            ]
        ),
    ]
    if plan.request.reload_mode.beside:
        lines += [
            "",
            "  note: the tables are loaded into a new schema recovered_CASE of the same database; no other is touched",
        ]
    lines += ["", *columns([("note", line) for line in plan.notices])] if plan.notices else []
    if source.publicly_accessible:
        lines += [
            "",
            "  note: the original has a public address, the copy will have none: run this inside the VPC",
        ]
    return joined(lines)


def _what(plan: RecoveryPlan) -> str:
    if not plan.request.reload_mode.anew:
        return f"put lost rows of {counted(len(plan.tables), 'table')} of '{plan.database}'"
    names = ", ".join(few([str(name) for name in plan.dropped]))
    meant = f"{names}, with what hung on it," if names else "everything that is missing"
    return f"make anew {meant} in '{plan.database}'"


def _tables(plan: RecoveryPlan, most: int) -> list[str]:
    if len(plan.tables) <= most:
        return columns(
            [
                ("table", "now", "why"),
                *(
                    (
                        str(table.name),
                        "empty" if table.empty else "holds rows",
                        f"{table.why}" + (f" ({table.because})" if table.because else ""),
                    )
                    for table in plan.tables
                ),
            ]
        )
    kinds = Counter(("empty" if table.empty else "hold rows", table.why.value) for table in plan.tables)
    rows = [(f"{count:,}", now, why) for (now, why), count in kinds.most_common()]
    return [*columns([("tables", "now", "why"), *rows]), "  --all lists them"]


def few(items: Sequence[str]) -> list[str]:
    """The first ones, and how many more there are."""
    more = [f"and {len(items) - FEW:,} more"] if len(items) > FEW else []
    return [*items[:FEW], *more]


def _and_more(count: int) -> list[str]:
    return [f"  and {count:,} more: --all lists them"] if count > 0 else []


def report_text(report: Report) -> str:
    """What was done and what it proved."""
    lines = [_headline(report), ""]
    lines += account_lines(report)
    if report.verification:
        lines += verification_text(report.verification).split("\n")
        moves = [f"{move.sequence} to {move.after}" for move in report.sequence_moves]
        lines += columns([("sequences   ", _or_none(moves, "forward: ", "none had to move"))])
    if report.before_images:
        lines += columns(
            [("before-images", f"schema {report.before_images}: rowback cleanup removes it when you are sure")]
        )
    if report.notices:
        lines += ["", *columns([("notice", line) for line in report.notices])]
    removed = "removed" if report.copy_removed else "NOT removed yet"
    lines += [
        "",
        *columns([(phase.step, f"{phase.seconds:.1f} s", _attempts(phase.attempts)) for phase in report.phases]),
        "",
        *columns([("copy", f"{report.copy_instance}: {removed}"), *_times(report)]),
    ]
    return joined(line.rstrip() for line in lines)


def _headline(report: Report) -> str:
    """What the case amounts to, in one line that cannot be read as more."""
    where = f"case {report.case}: '{report.database}' on '{report.instance}'"
    when = f"as of {format_utc(report.target_time)}"
    if report.taken_back:
        return f"case {report.case}: what it wrote was TAKEN BACK by rowback undo; what follows was so before that"
    account = report.whole_account
    match report.outcome:
        case "loaded beside":
            return f"{where} stands beside {when}, in schema {beside_schema(report.case)}"
        case "recovered" | "recovered in part" | "open" if report.verification:
            still = "" if report.copy_removed else "; the copy is still there"
            if account.complete:
                return f"{where} is back {when}{still}"
            more = f", {counted(len(account.unexamined), 'table')} not looked at" if account.unexamined else ""
            more += ", and values stay lost" if account.values_lost else ""
            more += ", and not all is as it was at T" if account.differing else ""
            return f"{where} is recovered in part {when}: {account.summary}{more}{still}"
        case "open":
            return f"case {report.case}: not finished"
    return f"case {report.case}: {report.outcome}"


def account_lines(report: Report) -> list[str]:
    """The account: every table with lost rows by class, and why rows are not back."""
    shown = [t for t in report.account if t.back or t.not_back or t.kept_newer or t.moved or t.not_deleted]
    if not shown and not report.unexamined and not report.values_lost and not report.differing:
        return []
    title = (
        "account of the rows at T:" if report.verification else "account of the rows at T, if the plan is carried out:"
    )
    rows: list[tuple[str, ...]] = [
        ("table", "at T", "back", "never gone", "kept newer", "conflict", "blocked", "left out")
    ]
    rows += [
        (
            t.table,
            *(
                f"{n:,}"
                for n in (
                    t.at_target,
                    t.back,
                    t.never_gone,
                    t.kept_newer,
                    t.conflict,
                    sum(r.rows for r in t.blocked),
                    sum(r.rows for r in t.left_out),
                )
            ),
        )
        for t in shown
    ]
    lines = [title, *columns(rows)]
    if quiet := len(report.account) - len(shown):
        lines.append(f"  and {counted(quiet, 'table')} of which no row was lost or changed")
    account = report.whole_account
    moved = [
        f"  {t.table}  {counted(each.rows, 'row')}: {each.reason}, so nothing of them was lost"
        for t in shown
        for each in t.moved
    ]
    if moved:
        lines += ["", "moved since T:", *moved]
    for title, not_done in (
        ("not back:", not_back_lines(account)),
        ("not deleted, though T does not have them:", not_deleted_lines(account)),
    ):
        lines += ["", title, *(f"  {line}" for line in not_done)] if not_done else []
    return [*lines, ""]


def verification_text(proof: Verification) -> str:
    """What was proven, table by table."""
    lines = []
    if proof.tables:
        rows = [(str(p.table), f"{p.at_target.rows:,}", f"{p.now.rows:,}", _verdict(p)) for p in proof.tables]
        lines += [*columns([("table", "at T", "now", "checksum"), *rows]), ""]
    if proof.repaired:
        repairs = [
            (str(p.table), f"{p.inserted:,}", f"{p.updated:,}", f"{p.deleted:,}", _repair_verdict(p))
            for p in proof.repaired
        ]
        lines += [*columns([("table", "inserted", "updated", "deleted", "rows"), *repairs]), ""]
    lines += columns(
        [
            ("rows", f"{proof.rows:,} written"),
            ("foreign keys", f"{proof.foreign_keys_checked} checked, {proof.dangling_references} broken"),
            ("elsewhere", _or_none(proof.changed_outside_scope, "CHANGED: ", "no other row was touched")),
            ("definitions", "altered by others since" if proof.definitions_altered_since else "unchanged"),
        ]
    )
    if proof.not_compared_again:
        note = f"{proof.not_compared_again}: proven by the load, not compared with T once more"
        lines += columns([("copy", note)])
    for check in proof.references:
        lines += columns([("reference", f"{check.reference}: {_reference(check)}")])
    if touched := [p for p in proof.tables if p.changed_since or p.written_since]:
        lines += [
            "",
            "written by others since the rows were put back:",
            *columns(
                [
                    (
                        str(p.table),
                        f"{p.written_since:,} rows written",
                        f"{p.changed_since:,} of ours changed or deleted",
                    )
                    for p in touched
                ]
            ),
        ]
    return joined(lines)


def cases_text(cases: Iterable[Case]) -> str:
    """One line a case, oldest first."""
    rows = [("case", "instance", "database", "target time", "state")]
    rows += [
        (
            case.id,
            case.plan.source.identifier,
            case.plan.database,
            format_utc(case.plan.target_time),
            _state(case),
        )
        for case in cases
    ]
    return joined(columns(rows)) if len(rows) > 1 else "no cases yet"


def _verdict(proof: TableProof) -> str:
    if proof.at_target == proof.now:
        return "equal"
    return "equal when loaded" if proof.equal else "DIFFERS"


def _reference(check: ReferenceCheck) -> str:
    if not check.dangling:
        note = f"{check.touched:,} keys touched, all whole"
    else:
        note = f"{check.dangling:,} of {check.touched:,} touched keys DANGLE: {', '.join(check.values)}"
    return note + (f" ({check.dangled_at_target:,} dangled at T already)" if check.dangled_at_target else "")


def _repair_verdict(proof: RepairProof) -> str:
    if not proof.proven:
        return "DIFFER"
    return f"as planned; {proof.changed_since:,} changed by others since" if proof.changed_since else "as planned"


def _state(case: Case) -> str:
    if case.taken_back:
        return f"{case.outcome}, taken back"
    return case.outcome if case.closed_at else f"open at {case.current_step or 'the beginning'}"


def _times(report: Report) -> list[tuple[str, str]]:
    rows = []
    if report.recovery_time_s is not None:
        objective = report.objectives.recovery_time_s
        verdict = ""
        if objective is not None:
            verdict = f" (objective {objective} s: {'met' if report.recovery_time_s <= objective else 'MISSED'})"
        rows.append(("recovery time", f"{report.recovery_time_s:.1f} s until proven{verdict}"))
    if report.approvals:
        rows.append(("approved", "; ".join(f"by '{each.by}' ({each.person})" for each in report.approvals)))
    if report.stopped_before:
        rows.append(("stops", "; ".join(report.stopped_before)))
    return rows


def _attempts(count: int) -> str:
    return f"{count} attempts" if count > 1 else ""


def _or_none(items: Sequence[str], prefix: str, none: str = "none") -> str:
    return prefix + ", ".join(items) if items else none


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as indented lines with aligned columns, each as wide as what is shown of it."""
    rows = [[plain(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(max(map(len, rows), default=0))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows
    ]
