"""The HTTP endpoint: RDS and IAM's simulator are answered here, all else by moto's server behind the same URL.

moto also shows Aurora clusters, and instances of other regions: what was created there, which it cannot restore.
"""

from __future__ import annotations

import http.client
import json
import logging
import re
import secrets
import sys
import threading
import uuid
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Protocol
from urllib.parse import parse_qsl

from runbooks.lab.authorization import authorize
from runbooks.lab.ops_catalogue import CatalogueOperations
from runbooks.lab.ops_iam import IamOperations
from runbooks.lab.ops_instances import InstanceOperations
from runbooks.lab.ops_logs import LogOperations
from runbooks.lab.ops_pricing import get_products
from runbooks.lab.ops_snapshots import SnapshotOperations, TagOperations
from runbooks.lab.principals import role_of
from runbooks.lab.query_protocol import Refusal, Request, Result, parse_request, render_refusal, render_result
from runbooks.lab.views import LabAccount

SCOPE = re.compile(r"Credential=(?P<key>[^/]+)/\d{8}/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")
TOKEN_HEADER = "X-Rowback-Lab-Token"  # noqa: S105 (the header's name)
HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}


class LabApi:
    """All operations of the lab, by action name: RDS's, and the few of IAM that moto does not have."""

    def __init__(self, account: LabAccount) -> None:
        self.account = account
        instances = InstanceOperations(account)
        groups = (
            instances,
            SnapshotOperations(account, instances),
            TagOperations(account),
            LogOperations(account),
            CatalogueOperations(account),
        )
        self.operations = _by_name(*groups)
        self._services = {"rds": self.operations, "iam": _by_name(IamOperations(account))}
        self._lock = threading.RLock()

    def answers(self, service: str, region: str, form: dict[str, str]) -> bool:
        """Whether the lab serves a call: RDS instances of its region, and the implemented calls of other services."""
        action = form.get("Action", "")
        if service == "rds":
            return region == self.account.region and "Cluster" not in action
        return action in self._services.get(service, ())

    def answer(self, form: dict[str, str], *, service: str = "rds", key: str = "") -> tuple[int, str]:
        """HTTP status and XML body for one call: what AWS would refuse is answered as AWS refuses it.

        `key`: the access key id that it was signed with.
        A Refusal that is raised inside becomes the answer.
        """
        action, request_id = form.get("Action", ""), str(uuid.uuid4())
        try:
            faults = self.account.engine.faults
            if f"{service}:{action}" in faults.denied:
                raise Refusal("AccessDenied", f"User: lab is not authorized to perform: {service}:{action}", 403)
            fault = faults.take_call(action)
            if fault and fault.moment == "instead":
                raise fault.refusal()
            request = parse_request(action, form, service=service)
            own = faults.policies.get(role_of(key) or "") if faults.policies else None
            for policy in filter(None, (faults.policy, own, faults.organization)):
                with self._lock:
                    authorize(self.account, policy, service, action, request)
            operation = self._services[service].get(action)
            if operation is None:
                raise Refusal("InvalidAction", f"The lab does not implement {action}; the RDS API has it.")
            with self._lock:
                result = operation(request)
            if fault:
                raise fault.refusal()
            return 200, render_result(action, result, request_id, service=service)
        except Refusal as refusal:
            return refusal.http_status, render_refusal(refusal, request_id, service=service)


def _by_name(*groups: object) -> dict[str, Callable[[Request], Result]]:
    return {name: getattr(group, name) for group in groups for name in dir(group) if name[0].isupper()}


class OtherServices:
    """moto's server on a port of its own, started when the first request for another service arrives."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server: Any = None

    def forward(self, handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Pass a request on unchanged and return the answer."""
        host, port = self._address()
        connection = http.client.HTTPConnection(host, port, timeout=60)
        try:
            headers = {key: value for key, value in handler.headers.items() if key.lower() not in HOP_BY_HOP}
            connection.request(handler.command, handler.path, body=body, headers=headers)
            response = connection.getresponse()
            kept = {k: v for k, v in response.getheaders() if k.lower() not in HOP_BY_HOP}
            return response.status, kept, response.read()
        finally:
            connection.close()

    def stop(self) -> None:
        """Stop moto, if it ever started."""
        with self._lock:
            if self._server is not None:
                self._server.stop()
                self._server = None

    def _address(self) -> tuple[str, int]:
        with self._lock:
            if self._server is None:
                from moto.server import ThreadedMotoServer

                logging.getLogger("werkzeug").setLevel(logging.ERROR)
                self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
                self._server.start()
            host, port = self._server.get_host_and_port()
            return host, port


class LabControl(Protocol):
    """What answers `/_lab/<verb>`, to who knows its token."""

    @property
    def token(self) -> str:
        """What a caller of the control path has to show."""

    def __call__(self, verb: str, body: dict[str, Any]) -> dict[str, Any]:
        """Carry out one verb of the control path."""


class Handler(BaseHTTPRequestHandler):
    """Routes by the service named in the signature; `/_lab/` is the lab's own control."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    api: ClassVar[LabApi]
    others: ClassVar[OtherServices]
    control: ClassVar[LabControl]

    def do_POST(self) -> None:
        """The Query protocol of RDS and IAM, the lab's control, or another service."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self._from_here():
            return self._send_json(403, {"error": "the lab answers this machine's own programs, and no web page"})
        if self.path.startswith("/_lab/"):
            return self._control(body)
        service, region, key = self._scope()
        form = dict(parse_qsl(body.decode(), keep_blank_values=True)) if service in ("rds", "iam") else {}
        if self.api.answers(service, region, form):
            status, text = self.api.answer(form, service=service, key=key)
            return self._send(status, {"Content-Type": "text/xml"}, text.encode())
        if service == "pricing":
            return self._send_json(*self._price(body))
        return self._send(*self.others.forward(self, body))

    do_GET = do_PUT = do_DELETE = do_HEAD = do_PATCH = do_POST  # noqa: N815

    def _price(self, body: bytes) -> tuple[int, dict[str, Any]]:
        if "pricing:GetProducts" in self.api.account.engine.faults.denied:
            denied = "User: lab is not authorized to perform: pricing:GetProducts"
            return 400, {"__type": "AccessDeniedException", "message": denied}
        return 200, get_products(json.loads(body))

    def _scope(self) -> tuple[str, str, str]:
        """The service and the region that a request was signed for, and the access key id that it was signed with."""
        match = SCOPE.search(self.headers.get("Authorization", ""))
        return (match["service"], match["region"], match["key"]) if match else ("unsigned", "", "")

    def _from_here(self) -> bool:
        """A page that a browser shows can send to loopback: it names its origin, or has the name of another host."""
        host = self.headers.get("Host", "").rpartition(":")[0]
        return host in ("127.0.0.1", "localhost") and "Origin" not in self.headers

    def _control(self, body: bytes) -> None:
        if not secrets.compare_digest(self.headers.get(TOKEN_HEADER, "").encode(), self.control.token.encode()):
            self._send_json(403, {"error": f"{TOKEN_HEADER} is not this lab's"})
            return
        try:
            answer = self.control(self.path.removeprefix("/_lab/"), json.loads(body or b"{}"))
            status = 200
        except (KeyError, TypeError, ValueError) as error:
            answer, status = {"error": str(error)}, 400
        self._send_json(status, answer)

    def _send_json(self, status: int, answer: dict[str, Any]) -> None:
        self._send(status, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(answer).encode())

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Silent: the caller sees every answer anyway."""


class LabHttpServer(ThreadingHTTPServer):
    """A caller that was killed while it was answered is nothing to write home about."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """As the standard library does, but for connections that ended."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def serve(api: LabApi, others: OtherServices, control: LabControl, port: int) -> ThreadingHTTPServer:
    """Start answering on loopback (`port` 0: any free one) in a thread of its own."""
    handler = type("BoundHandler", (Handler,), {"api": api, "others": others, "control": control})
    server = LabHttpServer(("127.0.0.1", port), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server
