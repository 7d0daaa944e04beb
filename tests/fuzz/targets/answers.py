"""What the RDS API answers: XML that botocore parses, and the facts that rowback takes out of it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import parse_qs

from botocore.awsrequest import AWSResponse

from recovery.aws.instances import Instances
from recovery.aws.log_files import LogFiles
from runbooks.lab.query_protocol import Refusal, render_refusal, render_result
from tests.fuzz.mutations import mutated_bytes
from tests.fuzz.target import OFFLINE, Invocation, Target, printed

MOMENT = datetime(2026, 11, 22, 14, 20, tzinfo=UTC)
INSTANCE = {
    "DBInstanceIdentifier": "docs-staging",
    "DbiResourceId": "db-1",
    "DBInstanceClass": "db.t3.micro",
    "DBInstanceArn": "arn:aws:rds:eu-west-1:123456789012:db:docs-staging",
    "Engine": "postgres",
    "EngineVersion": "17.10",
    "DBInstanceStatus": "available",
    "MasterUsername": "postgres",
    "Endpoint": {"Address": "127.0.0.1", "Port": 1},
    "BackupRetentionPeriod": 7,
    "AllocatedStorage": 20,
    "VpcSecurityGroups": [{"VpcSecurityGroupId": "sg-1", "Status": "active"}],
    "PubliclyAccessible": False,
    "DBSubnetGroup": {"DBSubnetGroupName": "default"},
    "IAMDatabaseAuthenticationEnabled": True,
    "DBParameterGroups": [{"DBParameterGroupName": "default.postgres17"}],
    "MasterUserSecret": {"SecretArn": "arn:x"},
    "CACertificateIdentifier": "rds-ca-rsa2048-g1",
    "TagList": [{"Key": "rowback:case", "Value": "x"}],
    "LatestRestorableTime": MOMENT,
}
BACKUP = {"DbiResourceId": "db-1", "RestoreWindow": {"EarliestTime": MOMENT, "LatestTime": MOMENT}}
LOG = "2026-11-22 14:20:00 UTC:10.0.0.1(5432):app@docs:[17]:LOG:  statement: truncate content.articles\n"
RESULTS: Mapping[str, Any] = {
    "DescribeDBInstances": {"DBInstances": [INSTANCE]},
    "DescribeDBInstanceAutomatedBackups": {"DBInstanceAutomatedBackups": [BACKUP]},
    "DescribeDBLogFiles": {
        "DescribeDBLogFiles": [
            {"LogFileName": "error/postgresql.log.2026-11-22-14", "LastWritten": 1795990018529, "Size": len(LOG)},
        ]
    },
    "DownloadDBLogFilePortion": {"LogFileData": LOG, "Marker": "1:1", "AdditionalDataPending": False},
    "DescribeEvents": {"Events": [{"Date": MOMENT, "Message": "DB instance restarted", "SourceType": "db-instance"}]},
}
TOKENS = (
    "<DBInstance>",
    "</DBInstance>",
    "<DBInstances>",
    "</DBInstances>",
    "<Endpoint>",
    "<Port>",
    "</Port>",
    "<Address>",
    "<TagList>",
    "<Tag>",
    "<Key>",
    "<Value/>",
    "<DbiResourceId/>",
    "<Error>",
    "<Code>",
    "</",
    "/>",
    "<![CDATA[",
    "]]>",
    "&#0;",
    "&#xD800;",
    "&amp;",
    "&lol;",
    "<!DOCTYPE a [<!ENTITY lol 'x'>]>",
    "<?xml version='1.0' encoding='utf-16'?>",
    "<RestoreWindow/>",
    "<EarliestTime>",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59-14:00",
    "<Marker>",
    "true",
    "-1",
    "<Size>",
    "<LastWritten>",
    "99999999999999999999",
    "<AdditionalDataPending>",
    "<DBInstanceStatus>",
    "\x00",
    "\xff",
)
CODES = ("DBInstanceNotFound", "Throttling", "AccessDenied", "ExpiredToken", "InternalFailure", "", "x" * 300)


@dataclass(frozen=True)
class Answer:
    """What one call is answered with; all others get what they should."""

    action: str
    status: int
    body: bytes

    def to(self, action: str) -> tuple[int, bytes]:
        """Status and body for a call."""
        if action == self.action:
            return self.status, self.body
        return (200, good(action)) if action in RESULTS else (400, refusal("AccessDenied"))


@cache
def good(action: str) -> bytes:
    """The answer that RDS gives."""
    return render_result(action, RESULTS[action], "1").encode()


@cache
def refusal(code: str) -> bytes:
    """An error of RDS."""
    return render_refusal(Refusal(code, "not today"), "1").encode()


def _make(rng: Random) -> Answer:
    action = rng.choice(list(RESULTS)) if rng.random() < 0.6 else "DescribeDBInstances"
    if rng.random() < 0.1:
        return Answer(action, rng.choice((200, 400, 403, 404, 503)), mutated_bytes(rng, [*map(refusal, CODES)], TOKENS))
    status = rng.choice((200,) * 12 + (301, 400, 500))
    return Answer(action, status, mutated_bytes(rng, (good(action),), TOKENS))


class _Raw:
    """The body of an answer as botocore reads it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, amount: int = 0, decode_content: bool = True) -> Any:
        """All of it at once."""
        yield self._body


@dataclass
class _Endpoint:
    """In place of a network: hands out the answer of the moment."""

    answer: Answer

    def __call__(self, request: Any, **_: Any) -> AWSResponse:
        form = parse_qs(request.body.decode() if isinstance(request.body, bytes) else str(request.body))
        status, body = self.answer.to(form["Action"][0])
        return AWSResponse(request.url, status, {"x-amzn-requestid": "1"}, _Raw(body))


@cache
def _client() -> tuple[Instances, _Endpoint]:
    import boto3
    from botocore.config import Config

    rds = boto3.client(
        "rds",
        endpoint_url=OFFLINE["AWS_ENDPOINT_URL"],
        region_name="eu-west-1",
        aws_access_key_id="fuzz",
        aws_secret_access_key="fuzz",
        config=Config(retries={"mode": "standard", "max_attempts": 1}),
    )
    endpoint = _Endpoint(Answer("", 200, b""))
    rds.meta.events.register("before-send.rds", endpoint)
    return Instances(rds, "eu-west-1"), endpoint


def _prepare() -> None:
    _client()  # its models take long to load


def _act(data: Answer, directory: Path) -> None:
    instances, endpoint = _client()
    endpoint.answer = data
    match data.action:
        case "DescribeDBInstances":
            printed(instances.get("docs-staging").model_dump_json())
            printed(str([facts.identifier for facts in instances.copies()]))
        case "DescribeDBInstanceAutomatedBackups":
            printed(instances.window(instances.get("docs-staging")).model_dump_json())
        case _:
            logs = LogFiles(instances.rds, "docs-staging")
            for file in logs.between(MOMENT, MOMENT):
                for _, portion in zip(range(50), logs.read(file), strict=False):  # a marker can lead on for ever
                    assert isinstance(portion, bytes)


def _command(data: Answer, directory: Path) -> Invocation:
    """A server that answers so; `find` asks it everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            status, body = data.to(form.get("Action", [""])[0])
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing is logged."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def stop() -> None:
        server.shutdown()
        server.server_close()

    where = f"http://127.0.0.1:{server.server_address[1]}"
    words = (
        ("wait", "docs-staging", "--for", "1s")
        if data.action == "DescribeDBInstances"
        else ("find", "docs-staging", "--from", "2026-11-22T00:00:00Z", "--to", "2026-11-23T00:00:00Z")
    )
    return Invocation(words, {"AWS_ENDPOINT_URL": where}, stop)


TARGETS = (Target("rds-answers", _make, _act, 6, _command, _prepare),)
