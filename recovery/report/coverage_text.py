"""`rowback coverage` as a table, CSV and HTML. The JSON twin is the model's own."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import datetime

from guards.plain_text import joined
from recovery.model.coverage_report import Coverage, Covered, Severity
from recovery.model.target import format_utc
from recovery.report.html_page import render
from recovery.report.report_text import columns

CSV_HEADER = (
    "region",
    "identifier",
    "kind",
    "engine",
    "version",
    "status",
    "retention_days",
    "earliest",
    "latest",
    "lag_s",
    "lasting_snapshots",
    "newest_snapshot",
    "aws_backup",
    "copied_to",
    "encrypted",
    "deletion_protection",
    "last_drill",
    "last_drill_passed",
    "severity",
    "gap",
    "fix",
)


def coverage_text(coverage: Coverage) -> str:
    """A line for each instance, then its gaps, the worst first."""
    where = coverage.regions[0] if len(coverage.regions) == 1 else f"{len(coverage.regions)} regions"
    lines = [f"account {coverage.account}, {where}: {_counted(len(coverage.covered))}", ""]
    lines += columns(
        [("name", "region", "engine", "backups", "back to", "behind", "gaps"), *map(_row, coverage.covered)]
    )
    for severity in Severity:
        gaps = coverage.of(severity)
        if gaps:
            lines += ["", f"{severity}:"]
        for each, gap in gaps:
            lines += [f"  {each.protection.identifier}: {gap.what}", f"    fix: {gap.fix}"]
    if coverage.unseen:
        lines += ["", "could not be looked at:", *(f"  {why}" for why in coverage.unseen)]
    return joined(lines)


def _counted(count: int) -> str:
    return f"{count} instance or cluster" if count == 1 else f"{count} instances and clusters"


def _row(each: Covered) -> tuple[str, ...]:
    protection = each.protection
    counts = {severity: sum(gap.severity is severity for gap in each.gaps) for severity in Severity}
    counted_severities = ", ".join(f"{count} {severity}" for severity, count in counts.items() if count)
    return (
        protection.identifier,
        protection.region,
        f"{protection.engine} {protection.engine_version}",
        f"{protection.retention_days} days" if protection.retention_days else "OFF",
        format_utc(protection.earliest) if protection.earliest else "-",
        "-" if each.lag_s is None else f"{max(each.lag_s, 0) / 60:,.0f} min",
        counted_severities or "none",
    )


def coverage_csv(coverage: Coverage) -> str:
    """A line for each gap, and one for each instance without any."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    writer.writerows(line for each in coverage.covered for line in _csv(each))
    for why in coverage.unseen:
        region, _, reason = why.partition(": ")
        writer.writerow((region, *[""] * (len(CSV_HEADER) - 4), "unknown", reason, ""))
    return out.getvalue()


def _csv(each: Covered) -> Iterator[tuple[object, ...]]:
    protection, drill = each.protection, each.rehearsal
    head = (
        protection.region,
        protection.identifier,
        protection.kind,
        protection.engine,
        protection.engine_version,
        protection.status,
        protection.retention_days,
        _moment(protection.earliest),
        _moment(protection.latest),
        "" if each.lag_s is None else round(each.lag_s),
        protection.lasting_snapshots,
        _moment(protection.newest_snapshot),
        protection.aws_backup,
        " ".join(protection.copied_to),
        protection.encrypted,
        protection.deletion_protection,
        _moment(drill.at) if drill else "",
        drill.passed if drill else "",
    )
    if not each.gaps:
        yield (*head, "", "", "")
    for gap in each.gaps:
        yield (*head, gap.severity, gap.what, gap.fix)


def coverage_html(coverage: Coverage) -> str:
    """One page that needs nothing else."""
    rows = [
        dict(zip(("name", "region", "engine", "backups", "back", "lag"), _row(each), strict=False), each=each)
        for each in coverage.covered
    ]
    return render("coverage.html", title="Backup coverage", found=coverage, rows=rows, severities=list(Severity))


def _moment(moment: datetime | None) -> str:
    return format_utc(moment) if moment else ""
