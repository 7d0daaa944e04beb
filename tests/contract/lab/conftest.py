"""Fixtures of the tests here."""

from __future__ import annotations

from typing import Any

import pytest

from runbooks.lab.lab_server import Lab
from tests.fix_lab import wait_until


@pytest.fixture
def gone(rds: Any, lab: Lab) -> Any:
    """Names of instances to delete after the test."""
    names: list[str] = []
    yield names
    for name in names:
        if name in lab.engine.instances:
            lab.engine.instances[name].attributes["DeletionProtection"] = False
            wait_until(lambda name=name: lab.engine.instances[name].status not in ("creating", "backing-up"), name)
            rds.delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True)
            wait_until(lambda name=name: name not in lab.engine.instances, f"{name} is gone")
