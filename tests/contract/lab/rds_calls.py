"""Calls of RDS that several tests of the lab make."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.fix_lab import wait_until

QUICK = {"Delay": 0.1, "MaxAttempts": 600}


def refused(code: str) -> Any:
    return pytest.raises(ClientError, match=rf"\({code}\)")


def create(rds: Any, name: str, **extra: Any) -> dict[str, Any]:
    request = {
        "DBInstanceIdentifier": name,
        "Engine": "postgres",
        "DBInstanceClass": "db.t3.micro",
        "AllocatedStorage": 20,
        "MasterUsername": "postgres",
        "MasterUserPassword": "secret-secret",
        **extra,
    }
    created: dict[str, Any] = rds.create_db_instance(**request)["DBInstance"]
    return created


def wait_for_window(rds: Any, identifier: str, moment: datetime) -> None:
    def reached() -> bool:
        row = rds.describe_db_instances(DBInstanceIdentifier=identifier)["DBInstances"][0]
        return bool(row["LatestRestorableTime"] >= moment)

    wait_until(reached, "the restore window reaches T")
