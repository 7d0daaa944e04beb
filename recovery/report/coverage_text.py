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


def coverage_text(found: Coverage) -> str:
    """A line for each instance, then its gaps, the worst first."""
    where = found.regions[0] if len(found.regions) == 1 else f"{len(found.regions)} regions"
    lines = [f"account {found.account}, {where}: {_counted(len(found.covered))}", ""]
    lines += columns([("name", "region", "engine", "backups", "back to", "behind", "gaps"), *map(_row, found.covered)])
    for severity in Severity:
        gaps = found.of(severity)
        if gaps:
            lines += ["", f"{severity}:"]
        for each, gap in gaps:
            lines += [f"  {each.protection.identifier}: {gap.what}", f"    fix: {gap.fix}"]
    if found.unseen:
        lines += ["", "could not be looked at:", *(f"  {why}" for why in found.unseen)]
    return joined(lines)


def _counted(count: int) -> str:
    return f"{count} instance or cluster" if count == 1 else f"{count} instances and clusters"


def _row(each: Covered) -> tuple[str, ...]:
    seen = each.protection
    counts = {severity: sum(gap.severity is severity for gap in each.gaps) for severity in Severity}
    counted_severities = ", ".join(f"{count} {severity}" for severity, count in counts.items() if count)
    return (
        seen.identifier,
        seen.region,
        f"{seen.engine} {seen.engine_version}",
        f"{seen.retention_days} days" if seen.retention_days else "OFF",
        format_utc(seen.earliest) if seen.earliest else "-",
        "-" if each.lag_s is None else f"{max(each.lag_s, 0) / 60:,.0f} min",
        counted_severities or "none",
    )


def coverage_csv(found: Coverage) -> str:
    """A line for each gap, and one for each instance without any."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    writer.writerows(line for each in found.covered for line in _csv(each))
    for why in found.unseen:
        region, _, reason = why.partition(": ")
        writer.writerow((region, *[""] * (len(CSV_HEADER) - 4), "unknown", reason, ""))
    return out.getvalue()


def _csv(each: Covered) -> Iterator[tuple[object, ...]]:
    seen, drill = each.protection, each.rehearsal
    head = (
        seen.region,
        seen.identifier,
        seen.kind,
        seen.engine,
        seen.engine_version,
        seen.status,
        seen.retention_days,
        _moment(seen.earliest),
        _moment(seen.latest),
        "" if each.lag_s is None else round(each.lag_s),
        seen.lasting_snapshots,
        _moment(seen.newest_snapshot),
        seen.aws_backup,
        " ".join(seen.copied_to),
        seen.encrypted,
        seen.deletion_protection,
        _moment(drill.at) if drill else "",
        drill.passed if drill else "",
    )
    if not each.gaps:
        yield (*head, "", "", "")
    for gap in each.gaps:
        yield (*head, gap.severity, gap.what, gap.fix)


def coverage_html(found: Coverage) -> str:
    """One page that needs nothing else."""
    rows = [
        dict(zip(("name", "region", "engine", "backups", "back", "lag"), _row(each), strict=False), each=each)
        for each in found.covered
    ]
    return render("coverage.html", title="Backup coverage", found=found, rows=rows, severities=list(Severity))


def _moment(moment: datetime | None) -> str:
    return format_utc(moment) if moment else ""
