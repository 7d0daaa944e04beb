"""What remains of a drill: its report in two forms with hashes, and the schedule of the next."""

from __future__ import annotations

import hashlib
from pathlib import Path

from recovery.report.html_page import render
from runbooks.drills.run_drill import DrillReport

CRON = """\
# The first Monday of each month at 09:00 (cron takes either field when day and weekday are both given, so the day is
# asked for); the mail tells when it failed. Half an hour later, gauges for node_exporter.
0 9 * * 1  test $(date +\\%d) -gt 7 || rowback drill --find --evidence /var/lib/rowback/drills
30 9 * * 1  rowback drills --format prometheus > /var/lib/node_exporter/rowback.prom
"""
SYSTEMD = """\
# /etc/systemd/system/rowback-drill.service
[Unit]
Description=Rehearse a recovery

[Service]
Type=oneshot
ExecStart=rowback drill --find --evidence /var/lib/rowback/drills

# /etc/systemd/system/rowback-drill.timer
[Unit]
Description=Rehearse a recovery every month

[Timer]
OnCalendar=Mon *-*-01..07 09:00
Persistent=true

[Install]
WantedBy=timers.target
"""
GITHUB = """\
# .github/workflows/recovery-drill.yml
name: recovery drill
on:
  schedule: [{cron: "0 9 1 * *"}]
  workflow_dispatch: {}
jobs:
  drill:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/setup-python@v5
        with: {python-version: "3.12"}
      - run: pip install 'rowback[lab]'
      - run: rowback drill --find --evidence evidence
      - uses: actions/upload-artifact@v4
        if: always()
        with: {name: drill, path: evidence}
"""


def schedule(form: str) -> str:
    """A monthly drill for cron, systemd or GitHub Actions."""
    return {"cron": CRON, "systemd": SYSTEMD, "github": GITHUB}[form]


def keep_evidence(report: DrillReport, directory: Path) -> Path:
    """Write the report as JSON and as a page below `directory`, and SHA256SUMS over both. Returns their directory."""
    place = directory / f"drill-{report.fault_at:%Y%m%d-%H%M%S}"
    place.mkdir(parents=True, exist_ok=True)
    files = {
        "drill.json": report.model_dump_json(indent=1) + "\n",
        "drill.html": render("drill.html", title="Recovery drill", report=report),
    }
    for name, text in files.items():
        (place / name).write_text(text)
    sums = [f"{hashlib.sha256(text.encode()).hexdigest()}  {name}" for name, text in files.items()]
    (place / "SHA256SUMS").write_text("\n".join(sums) + "\n")
    return place
