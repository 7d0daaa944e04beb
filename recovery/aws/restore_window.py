"""The seconds that an instance can be restored to, by its automated backups."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from recovery.aws.clients import code_of, translated
from recovery.aws.instance_errors import backups_off
from recovery.model.instance import InstanceFacts, RestoreWindow


def window_of(rds: Any, source: InstanceFacts) -> RestoreWindow:
    """Of the active backups, where there are several of one resource. Raises backups-off."""
    with translated(f"rds:DescribeDBInstanceAutomatedBackups on '{source.identifier}'"):
        rows = [row for row in _backups(rds, source) if "LatestTime" in row.get("RestoreWindow", {})]
        rows.sort(key=lambda row: (row.get("Status") == "active", row["RestoreWindow"]["LatestTime"]))
        if source.retention_days == 0 or not rows:
            raise backups_off(source)
        window = rows[-1]["RestoreWindow"]
        return RestoreWindow(earliest=window["EarliestTime"], latest=window["LatestTime"])


def _backups(rds: Any, source: InstanceFacts) -> list[dict[str, Any]]:
    try:
        answer = rds.describe_db_instance_automated_backups(DbiResourceId=source.resource_id)
    except ClientError as error:
        if code_of(error) == "DBInstanceAutomatedBackupNotFound":
            return []
        raise
    rows: list[dict[str, Any]] = answer["DBInstanceAutomatedBackups"]
    return rows
