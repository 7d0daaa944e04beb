"""Drills are remembered, compared, kept as evidence, and scheduled."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recovery.model.recovery_report import Objectives
from recovery.store.drill_history import DrillRecord
from tests.fix_cli import Cli
from tests.scenarios.fix_telling import ELSEWHERE

pytestmark = pytest.mark.drill


def hold(cli: Cli, *days_ago: int, failed: int = -1) -> None:
    """Drills of the past, as files."""
    directory = cli.home / "drills"
    directory.mkdir(parents=True)
    for number, days in enumerate(days_ago):
        record = DrillRecord(
            at=datetime.now(UTC) - timedelta(days=days),
            target="lab",
            fault="truncate t",
            passed=number != failed,
            recovery_time_s=2.0 + number,
            data_loss_s=1.0,
            objectives=Objectives(recovery_time_s=6, data_loss_s=60),
            phases_s={"plan": 0.5, "fault": 0.1},
            rows=1000,
            tool_version="0",
        )
        (directory / f"{number}.json").write_text(record.model_dump_json())


def test_a_drill_is_remembered_compared_and_kept(cli: Cli) -> None:
    first = cli("drill", "--articles", "30", "--evidence", "kept")
    assert first.code == 0, first.err
    assert "compared" not in first.out
    second = cli("drill", "--articles", "30", "--repeat", "2", "--json")
    assert [each["leftover_instances"] for each in json.loads(second.out)] == [[], []]
    held = json.loads(cli("drills", "--json").out)
    assert [each["passed"] for each in held] == [True] * 3
    (place,) = Path("kept").iterdir()
    lines = [line.split("  ") for line in (place / "SHA256SUMS").read_text().splitlines()]
    sums = {name: digest for digest, name in lines}
    assert sums == {name: hashlib.sha256((place / name).read_bytes()).hexdigest() for name in sums}
    assert sums.keys() == {"drill.json", "drill.html"}
    assert json.loads((place / "drill.json").read_text())["restored"] is True
    page = (place / "drill.html").read_text()
    assert "passed" in page
    assert not ELSEWHERE.search(page)


def test_a_drill_whose_runbook_fails_keeps_what_its_steps_printed(cli: Cli) -> None:
    Path("ours.md").write_text(BROKEN)
    stopped = cli("drill", "ours.md", "--articles", "30")
    assert stopped.code == 56
    told = re.search(r"^error\[run-paused\](.*\n)+", stopped.err, re.MULTILINE)
    assert told
    (kept,) = re.findall(r"each step is in (\S+)", told[0])
    run = re.findall(r"run (\S+) is paused", told[0])[0]
    assert told[0] == (
        f"error[run-paused]: run {run} is paused at step 'look': it ended with exit code 3, not 0\n"
        f"  the drill's own lab is gone; the output of each step is in {kept}\n"
        "  help: mend the runbook or what it calls, then: rowback drill ours.md\n"
    )
    assert "nobody is here\n" in [path.read_text() for path in Path(kept).iterdir()]
    shutil.rmtree(kept)
    (held,) = json.loads(cli("drills", "--json").out)
    assert (held["passed"], held["recovery_time_s"], held["data_loss_s"]) == (False, None, None)
    assert cli("drills").out.splitlines()[1].split()[2:] == ["FAILED", "-", "300", "s", "-", "0"]
    assert '<td class="n">-</td><td class="n">300</td><td class="n">-</td>' in cli("drills", "--format", "html").out
    gauges = dict(
        line.split(" ") for line in cli("drills", "--format", "prometheus").out.splitlines() if line[0] != "#"
    )
    assert gauges["rowback_drill_success"] == "0.000"
    assert not gauges.keys() & {"rowback_drill_recovery_seconds", "rowback_drill_data_loss_seconds"}


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        (["nosuch"], "there is no runbook 'nosuch'"),
        (
            ["truncated-tables", "--transport", "copy"],
            "--transport copy does not go with a runbook: its own commands decide that",
        ),
        (["--evidence", "/proc/nope"], "/proc/nope cannot be made: No such file or directory"),
        (
            ["--target", "staging", "--table", "t", "--calendar", "cron"],
            "--target, --table does not go with --calendar, which schedules rowback drill on the lab",
        ),
    ],
)
def test_what_cannot_be_drilled_is_refused_before_anything_begins(cli: Cli, arguments: list[str], fact: str) -> None:
    refused = cli("drill", *arguments)
    assert refused.err.splitlines()[0].split(": ", 1)[1].startswith(fact)
    assert cli("drills").out == "no drill was held yet: rowback drill\n"


BROKEN = """---
title: Ours
purpose: Look whether anybody is here.
when: Always.
parameters:
  instance: {type: instance, help: the RDS instance, example: docs-staging}
---
# Ours

```sh id=look timeout=1m
echo nobody is here
exit 3
```
"""


@pytest.mark.drill
@pytest.mark.parametrize("book", ["truncated-tables", "bad-update"])
def test_a_drill_follows_a_runbook(cli: Cli, book: str) -> None:
    done = cli("drill", book, "--articles", "200", "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert report["restored"]
    assert report["outside_scope_unchanged"]
    assert report["leftover_instances"] == []
    assert report["objectives"] == {"recovery_time_s": 300, "data_loss_s": 60}
    assert "runbook" in report["phases_s"]


@pytest.mark.drill
def test_a_book_that_recovers_nothing_is_no_drill(cli: Cli) -> None:
    refused = cli("drill", "backup-coverage-review", "--articles", "30")
    assert refused.code == 2
    assert (
        "error[usage]: runbook 'backup-coverage-review' recovered nothing, so there is nothing to measure\n"
        in refused.err
    )


def test_an_objective_that_is_missed_fails_the_drill(cli: Cli) -> None:
    missed = cli("drill", "--articles", "30", "--rto", "0")
    assert missed.code == 40
    assert "drill FAILED" in missed.out
    assert cli("drills").out.splitlines()[-1] == "0 of 1 passed"


def test_the_trend(cli: Cli) -> None:
    assert cli("drills").out == "no drill was held yet: rowback drill\n"
    hold(cli, 60, 30, 1, failed=1)
    lines = cli("drills").out.splitlines()
    assert [line.split()[2] for line in lines[1:4]] == ["passed", "FAILED", "passed"]
    assert lines[-1] == "2 of 3 passed"
    page = cli("drills", "--format", "html").out
    assert page.count('<rect class="bar') == 3
    assert page.count('<rect class="bar failed"') == 1
    assert '<line class="objective"' in page
    assert not ELSEWHERE.search(page)
    gauges = dict(
        line.rsplit(" ", 1) for line in cli("drills", "--format", "prometheus").out.splitlines() if line[0] != "#"
    )
    assert float(gauges["rowback_drill_success"]) == 1
    assert float(gauges["rowback_drill_recovery_seconds"]) == 4
    assert float(gauges['rowback_drill_phase_seconds{phase="plan"}']) == 0.5
    last = datetime.fromisoformat(json.loads(cli("drills", "--json").out)[-1]["at"]).timestamp()
    assert abs(float(gauges["rowback_drill_last_timestamp_seconds"]) - last) < 1


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("cron", "0 9 * * 1  test $(date +\\%d) -gt 7 || rowback drill --find"),
        ("systemd", "OnCalendar=Mon *-*-01..07 09:00"),
        ("github", 'schedule: [{cron: "0 9 1 * *"}]'),
    ],
)
def test_schedules(cli: Cli, form: str, words: str) -> None:
    printed = cli("drill", "--calendar", form)
    assert printed.code == 0
    assert words in printed.out
