"""Fixtures of the tests here."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from recovery.model.recovery_report import Objectives
from recovery.store.drill_history import DrillRecord
from runbooks.lab.lab_server import Lab
from tests.fix_cli import Cli
from tests.fix_lab import Database, Live, end_instance, rds_client
from tests.scenarios.doctor.doctor_lab import (
    SETTINGS,
    DoctorLab,
)


@pytest.fixture(scope="module")
def live(lab: Lab) -> Iterator[Live]:
    """An instance that nothing is wrong with."""
    rds = rds_client(lab)
    family = f"postgres{lab.engine.tools.major}"
    rds.create_db_parameter_group(DBParameterGroupName="well", DBParameterGroupFamily=family, Description="well")
    rds.modify_db_parameter_group(
        DBParameterGroupName="well",
        Parameters=[
            {"ParameterName": name, "ParameterValue": value, "ApplyMethod": "pending-reboot"}
            for name, value in SETTINGS.items()
        ],
    )
    password = lab.create_instance(
        "well-1", PubliclyAccessible=False, DeletionProtection=True, DBParameterGroupName="well"
    )
    yield Live(lab, "well-1", password)
    end_instance(lab, "well-1", "well")


@pytest.fixture
def doctor_lab(lab: Lab, live: Live, database: Database, cli: Cli, tmp_path: Path) -> DoctorLab:
    """All is well: the drill was held, the database has one table with a key."""
    drill = DrillRecord(
        at=datetime.now(UTC),
        target=live.identifier,
        fault="truncate",
        passed=True,
        recovery_time_s=3.0,
        data_loss_s=1.0,
        objectives=Objectives(),
        phases_s={},
        rows=1,
        tool_version="0",
    )
    (cli.home / "drills").mkdir(parents=True)
    (cli.home / "drills" / "one.json").write_text(drill.model_dump_json())
    database.run("create table people (id int primary key, name text)")
    return DoctorLab(lab, live, database, cli, tmp_path)
