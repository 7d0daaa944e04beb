"""Plans, reports and cases as text for people. The JSON twins are the models' own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from recovery.model.plan import RecoveryPlan, Transport
from recovery.model.report import Report, TableProof
from recovery.model.target import format_utc
from recovery.workflow.cases import Case


def plan_text(plan: RecoveryPlan) -> str:
    """What will happen, blast radius first."""
    source, settings = plan.source, plan.copy_settings
    lines = [
        f"plan {plan.digest[:8]}: put {len(plan.tables)} tables of '{plan.database}' on '{source.identifier}'"
        f" back to {format_utc(plan.target_time)}",
        "",
        *_columns([("table", "rows now", "why"), *(
            (str(table.name), "0", f"{table.why}" + (f" ({table.because})" if table.because else ""))
            for table in plan.tables
        )]),
    ]  # fmt: skip
    if plan.left_out:
        lines += ["", "stays as it is:", *_columns([(str(out.name), out.reason) for out in plan.left_out])]
    how = "pg_dump, then COPY" if plan.transport is Transport.DUMP else "COPY, streamed"
    groups = ", ".join(settings.security_group_ids) or "none"
    network = f"subnet group {settings.subnet_group or 'default'}, security groups {groups}"
    lines += [
        "",
        *_columns(
            [
                ("window", f"{format_utc(plan.window.earliest)} to {format_utc(plan.window.latest)}"),
                ("temporary", f"{settings.instance_class}, PostgreSQL {source.engine_version}, {network},"),
                ("", "not public, no backups of its own, default parameter group, random password, made inert;"),
                ("", f"tagged to expire after {settings.expires_after_hours} h, removed at the end"),
                ("rows", f"{how}; foreign keys: {plan.foreign_key_mode.value}"),
                ("locks", f"SHARE ROW EXCLUSIVE on the {len(plan.tables)} tables (reading goes on, writing waits),"),
                ("", f"tried {plan.lock_attempts} times for {plan.lock_timeout_ms} ms; one transaction"),
                ("triggers", _or_none([f"{t.name} on {t.table}" for t in plan.held_triggers], "held back: ")),
                ("sequences", f"{len(plan.sequences)}, moved forward only"),
                ("never", f"'{source.identifier}' itself is not restored, modified, rebooted or deleted"),
            ]
        ),
    ]  # fmt: skip
    if source.publicly_accessible:
        lines += [
            "",
            "  note: the original has a public address, the temporary instance will have none: run this inside the VPC",
        ]
    return "\n".join(lines)


def report_text(report: Report) -> str:
    """What was done and what it proved."""
    missing = f", without {len(report.not_put_back)} tables dropped since" if report.not_put_back else ""
    head = {
        "recovered": f"case {report.case}: '{report.database}' on '{report.instance}' is back as of"
        f" {format_utc(report.target_time)}{missing}",
        "open": f"case {report.case}: not finished",
    }.get(report.outcome, f"case {report.case}: {report.outcome}")
    lines = [head, ""]
    moves = [f"{move.sequence} to {move.after}" for move in report.sequence_moves]
    if proof := report.verification:
        lines += _columns(
            [("table", "at T", "now", "checksum"), *(
                (str(p.table), f"{p.at_target.rows:,}", f"{p.now.rows:,}", _verdict(p))
                for p in proof.tables
            )]
        )  # fmt: skip
        lines += [
            "",
            *_columns(
                [
                    ("rows", f"{proof.rows:,} put back"),
                    ("foreign keys", f"{proof.foreign_keys_checked} checked, {proof.dangling_references} broken"),
                    ("elsewhere", _or_none(proof.changed_outside_scope, "CHANGED: ", "no other row was touched")),
                    ("definitions", "altered by others since" if proof.definitions_altered_since else "unchanged"),
                    ("sequences", _or_none(moves, "forward: ", "none had to move")),
                ]
            ),
        ]  # fmt: skip
    if report.not_put_back:
        lines += ["", f"  NOT put back, because dropped since T: {', '.join(report.not_put_back)}"]
    if proof and (touched := [p for p in proof.tables if p.changed_since or p.written_since]):
        lines += ["", "written by others since the rows were put back:", *_columns([
            (str(p.table), f"{p.written_since:,} rows written", f"{p.changed_since:,} of ours changed or deleted")
            for p in touched
        ])]  # fmt: skip
    removed = "removed" if report.temporary_instance_removed else "NOT removed yet"
    lines += [
        "",
        *_columns([(phase.step, f"{phase.seconds:.1f} s", _attempts(phase.attempts)) for phase in report.phases]),
        "",
        *_columns([("temporary instance", f"{report.temporary_instance}: {removed}"), *_times(report)]),
    ]
    return "\n".join(line.rstrip() for line in lines)


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
    return "\n".join(_columns(rows)) if len(rows) > 1 else "no cases yet"


def _verdict(proof: TableProof) -> str:
    if proof.at_target == proof.now:
        return "equal"
    return "equal when loaded" if proof.equal else "DIFFERS"


def _state(case: Case) -> str:
    return case.outcome if case.closed_at else f"open at {case.current_step or 'the beginning'}"


def _times(report: Report) -> list[tuple[str, str]]:
    rows = []
    if report.recovery_time_s is not None:
        objective = report.objectives.recovery_time_s
        verdict = ""
        if objective is not None:
            verdict = f" (objective {objective} s: {'met' if report.recovery_time_s <= objective else 'MISSED'})"
        rows.append(("recovery time", f"{report.recovery_time_s:.1f} s until proven{verdict}"))
    if report.stopped_before:
        rows.append(("stops", "; ".join(report.stopped_before)))
    return rows


def _attempts(count: int) -> str:
    return f"{count} attempts" if count > 1 else ""


def _or_none(items: Sequence[str], prefix: str, none: str = "none") -> str:
    return prefix + ", ".join(items) if items else none


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(max(map(len, rows), default=0))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows
    ]
