"""The lab's Query protocol is the exact inverse of botocore's own serialiser and parser."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import botocore.parsers
import botocore.serialize
import pytest

from runbooks.lab.query_protocol import Refusal, model_of, parse_request, render_refusal, render_result

REQUESTS: dict[str, dict[str, Any]] = {
    "RestoreDBInstanceToPointInTime": {
        "SourceDbiResourceId": "db-1",
        "TargetDBInstanceIdentifier": "t",
        "MultiAZ": False,
        "BackupRetentionPeriod": 0,
        "RestoreTime": datetime(2026, 11, 22, 14, 20, tzinfo=UTC),
        "VpcSecurityGroupIds": ["sg-1", "sg-2"],
        "Tags": [{"Key": "a", "Value": "한글 & <x>"}, {"Key": "b", "Value": ""}],
    },
    "DescribeDBInstances": {"Filters": [{"Name": "engine", "Values": ["postgres", "x"]}], "MaxRecords": 20},
    "RemoveTagsFromResource": {"ResourceName": "arn:x", "TagKeys": ["a", "b"]},
    "ModifyDBParameterGroup": {
        "DBParameterGroupName": "g",
        "Parameters": [{"ParameterName": "log_statement", "ParameterValue": "mod", "ApplyMethod": "immediate"}],
    },
}


@pytest.mark.parametrize("action", REQUESTS)
def test_requests_of_botocore_are_understood(action: str) -> None:
    serializer = botocore.serialize.create_serializer("query")
    body = serializer.serialize_to_request(REQUESTS[action], model_of("rds").operation_model(action))["body"]
    form = {key: str(value) for key, value in body.items()}
    assert parse_request(action, form) == REQUESTS[action]


def test_results_are_understood_by_botocore() -> None:
    result = {
        "DBInstances": [
            {
                "DBInstanceIdentifier": "a<&>b",
                "MultiAZ": False,
                "AllocatedStorage": 20,
                "InstanceCreateTime": datetime(2026, 11, 22, 14, 20, 1, 500000, tzinfo=UTC),
                "Endpoint": {"Address": "127.0.0.1", "Port": 5432},
                "TagList": [{"Key": "k", "Value": "v"}],
            },
        ],
        "Marker": None,
    }
    parser = botocore.parsers.create_parser("query")
    body = render_result("DescribeDBInstances", result, "id").encode()
    shape = model_of("rds").operation_model("DescribeDBInstances").output_shape
    found = parser.parse({"body": body, "headers": {}, "status_code": 200}, shape)
    del found["ResponseMetadata"]
    assert found == {"DBInstances": result["DBInstances"]}


def test_errors_are_understood_by_botocore() -> None:
    parser = botocore.parsers.create_parser("query")
    body = render_refusal(Refusal("DBInstanceNotFound", "DBInstance <x> not found.", 404), "id").encode()
    shape = model_of("rds").operation_model("DescribeDBInstances").output_shape
    found = parser.parse({"body": body, "headers": {}, "status_code": 404}, shape)
    assert found["Error"] == {"Code": "DBInstanceNotFound", "Message": "DBInstance <x> not found.", "Type": "Sender"}


@pytest.mark.parametrize(
    ("action", "form", "code"),
    [
        ("NoSuchThing", {}, "InvalidAction"),
        ("DeleteDBInstance", {}, "MissingParameter"),
        ("DescribeDBInstances", {"MaxRecords": "many"}, "InvalidParameterValue"),
    ],
)
def test_bad_requests_are_answered_with_a_code(action: str, form: dict[str, str], code: str) -> None:
    with pytest.raises(Refusal) as refused:
        parse_request(action, form)
    assert refused.value.code == code
