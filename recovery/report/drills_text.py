"""Drills that were held: a table, a page with the trend, gauges for Prometheus."""

from __future__ import annotations

from collections.abc import Sequence

from guards.plain_text import joined
from recovery.model.target import format_utc
from recovery.report.charts import trend
from recovery.report.html_page import render
from recovery.report.report_text import columns
from recovery.store.drill_history import DrillRecord


def drills_text(records: Sequence[DrillRecord]) -> str:
    """One line a drill, oldest first."""
    if not records:
        return "no drill was held yet: rowback drill"
    rows = [("when", "on", "result", "recovery time", "objective", "data loss", "rows")]
    rows += [
        (
            format_utc(each.at),
            each.target,
            "passed" if each.passed else "FAILED",
            _seconds(each.recovery_time_s),
            f"{each.objectives.recovery_time_s} s" if each.objectives.recovery_time_s else "-",
            _seconds(each.data_loss_s),
            f"{each.rows:,}",
        )
        for each in records
    ]
    passed = sum(each.passed for each in records)
    return joined([*columns(rows), "", f"{passed} of {len(records)} passed"])


def drills_html(records: Sequence[DrillRecord]) -> str:
    """The trend as a chart, and the table."""
    objective = records[-1].objectives.recovery_time_s if records else None
    shown = [(each.at, each.recovery_time_s or 0.0, each.passed) for each in records[-24:]]
    worth = objective if objective and shown and objective < 4 * max(seconds for _, seconds, _ in shown) else None
    chart = trend(shown, worth)
    return render("drills.html", title="Recovery drills", held=list(reversed(records)), chart=chart)


def drills_prometheus(records: Sequence[DrillRecord]) -> str:
    """The last drill as gauges, for node_exporter's textfile collector."""
    if not records:
        return ""
    last, passed = records[-1], [each for each in records if each.passed]
    gauges = [
        ("rowback_drill_success", float(last.passed)),
        *_measured("rowback_drill_recovery_seconds", last.recovery_time_s),
        *_measured("rowback_drill_data_loss_seconds", last.data_loss_s),
        ("rowback_drill_recovery_objective_seconds", float(last.objectives.recovery_time_s or 0)),
        ("rowback_drill_last_timestamp_seconds", last.at.timestamp()),
        ("rowback_drill_last_success_timestamp_seconds", passed[-1].at.timestamp() if passed else 0.0),
    ]
    lines = [line for name, value in gauges for line in (f"# TYPE {name} gauge", f"{name} {value:.3f}")]
    lines += ["# TYPE rowback_drill_phase_seconds gauge"]
    lines += [f'rowback_drill_phase_seconds{{phase="{phase}"}} {value:.3f}' for phase, value in last.phases_s.items()]
    return joined(lines) + "\n"


def _seconds(measured: float | None) -> str:
    return "-" if measured is None else f"{measured:.1f} s"


def _measured(gauge: str, value: float | None) -> list[tuple[str, float]]:
    """No gauge at all for what was not measured: zero seconds would be the best of all results."""
    return [] if value is None else [(gauge, value)]
