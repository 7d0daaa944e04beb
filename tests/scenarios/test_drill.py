"""The drill passes when the rows are proven back, and fails for every single thing that is not as it should be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from guards.postgres_programs import system_directories
from runbooks.commands.drill import drill_text
from runbooks.drills.run_drill import DrillReport


def drill(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "recovery.cli", "drill", "--articles", "100", *arguments],
        text=True,
        capture_output=True,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.fixture(scope="module")
def passed() -> dict[str, Any]:
    # Variables of the caller's shell must not lead the drill anywhere else.
    done = drill(
        "--json", PGHOST="192.0.2.1", PGSERVICE="prod", AWS_PROFILE="prod", AWS_ENDPOINT_URL_RDS="http://192.0.2.1"
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_drill_proves_the_rows_back_and_measures(passed: dict[str, Any]) -> None:
    assert passed["restored"] is True
    assert passed["outside_scope_unchanged"] is True
    assert passed["billing_writes_kept"] == passed["billing_writes_acknowledged"] > 0
    assert passed["leftover_instances"] == []
    assert passed["recovery"]["outcome"] == "recovered"
    assert 0 < passed["recovery_time_s"] < 300
    assert 0 <= passed["data_loss_s"] < 60
    assert set(passed["phases_s"]) == {"lab", "data", "steady-state", "fault", "plan", "steady-state-again"}


@pytest.mark.parametrize(
    "change",
    [
        {"restored": False},
        {"outside_scope_unchanged": False},
        {"billing_writes_kept": 1},
        {"billing_writes_kept": 0, "billing_writes_acknowledged": 0},
        {"leftover_instances": ["rowback-x"]},
        {"recovery_time_s": 301.0},
        {"data_loss_s": 61.0},
        {"recovery": {"verification": None}},
    ],
)
def test_a_drill_fails_for_every_single_thing(passed: dict[str, Any], change: dict[str, Any]) -> None:
    whole = DrillReport.model_validate(passed)
    assert whole.passed
    assert drill_text(whole).startswith("drill PASSED")
    if "recovery" in change:
        change = {"recovery": whole.recovery.model_copy(update=change["recovery"])}
    broken = whole.model_copy(update=change)
    assert not broken.passed
    assert drill_text(broken).startswith("drill FAILED")


def test_a_missed_objective_is_exit_code_40() -> None:
    done = drill("--rto", "0")
    assert done.returncode == 40
    assert "drill FAILED" in done.stdout
    assert "(objective 0 s)" in done.stdout


@pytest.mark.pg15
def test_a_drill_with_nothing_but_a_system_postgresql_15() -> None:
    found = next((path for path in system_directories() if "/15/" in f"{path}/"), None)
    if found is None:
        pytest.skip("no system PostgreSQL 15 on this machine (apt-get install postgresql-15 brings one)")
    done = drill("--json", ROWBACK_PG_BIN=str(found))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["postgres"].startswith("15.")


def test_no_postgresql_at_all(tmp_path: Path) -> None:
    done = drill(ROWBACK_PG_BIN=str(tmp_path))
    assert done.returncode == 3
    assert done.stderr.splitlines() == [
        "start a lab: Amazon RDS on this machine … stopped: see below",
        f"error[lab-unavailable]: no PostgreSQL server found (looked at: {tmp_path} (no postgres)); "
        "pip install 'rowback[lab]' brings one",
        "  nothing was created, nothing was written",
        "  help: rowback lab status",
    ]
