"""Tell the others: webhook, program, apprise. In threads of their own, with little patience; never in the way."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from recovery.config import Apprise, Notify, Program, Webhook
from recovery.redaction import Redactor

TIMEOUT_S, LAST_WORDS_S = 3.0, 5.0
FILE = "notifications.jsonl"
USUAL = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR", "SYSTEMROOT")


class Notifier:
    """`tell(event, text)` returns at once. What became of each is written beside the journal. Secrets are masked."""

    def __init__(self, sinks: Sequence[Notify], case: str, about: dict[str, str], directory: Path) -> None:
        self._sinks, self._directory = sinks, directory
        self._about = {"case": case, **about}
        self._redact = Redactor.of_this_process()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def tell(self, event: str, text: str) -> None:
        """`event`: opened, needs-approval, phase, finished, failed."""
        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        document = {"event": event, "text": self._redact(text), "at": now, **self._about}
        for sink in self._sinks:
            thread = threading.Thread(target=self._deliver, args=(sink, document), daemon=True)
            thread.start()
            self._threads.append(thread)

    def wait(self) -> None:
        """Let what is under way arrive, for a moment in all."""
        until = time.monotonic() + LAST_WORDS_S
        for thread in self._threads:
            thread.join(max(until - time.monotonic(), 0.0))

    def _deliver(self, sink: Notify, document: dict[str, str]) -> None:
        try:
            result = _send(sink, document)
        except (OSError, ValueError, subprocess.SubprocessError, http.client.HTTPException) as error:
            result = f"failed: {type(error).__name__}"  # its words may quote the address, which is a secret
        line = json.dumps({**document, "sink": type(sink).__name__.lower(), "result": self._redact(result)})
        with self._lock:
            self._keep(line)

    def _keep(self, line: str) -> None:
        try:
            path = self._directory / FILE
            path.touch(mode=0o600)
            with path.open("a") as file:
                file.write(line + "\n")
        except OSError:
            return  # a full disk is the recovery's trouble, not this line's


def _send(sink: Notify, document: dict[str, str]) -> str:
    body = json.dumps(document, ensure_ascii=False).encode()
    match sink:
        case Webhook():
            return _post(sink.url or os.environ.get(sink.url_env or "", ""), body)
        case Program(command=command):
            completed = subprocess.run(
                command,
                input=body,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=TIMEOUT_S,
                check=False,
                env=_environment(sink),
            )
            return "delivered" if completed.returncode == 0 else f"failed: exit code {completed.returncode}"
        case Apprise(apprise_env=variable):
            return _by_apprise(os.environ.get(variable, ""), document)


def _post(url: str, body: bytes) -> str:
    if not url.startswith(("http://", "https://")):
        return "failed: the address of the webhook is not known"
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"}, method="POST")  # noqa: S310
    opener = urllib.request.build_opener(_NoRedirects)
    try:
        with opener.open(request, timeout=TIMEOUT_S) as answer:  # its body is not read
            return f"delivered: {answer.status}"
    except urllib.error.HTTPError as error:
        return f"failed: it answered {error.code}"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """What is posted is for the address that was configured, and for no other."""

    def redirect_request(self, *_: object) -> None:
        """Follow none."""


def _environment(sink: Program) -> dict[str, str]:
    """What a program needs to run, and the variables that its configuration names: no secret of rowback's own."""
    names = {*USUAL, *sink.pass_env}
    return {name: value for name, value in os.environ.items() if name in names or name.startswith("LC_")}


def _by_apprise(address: str, document: dict[str, str]) -> str:
    try:
        import apprise  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return "failed: apprise is not installed: pip install 'rowback[notify]'"
    service = apprise.Apprise()
    service.add(address)
    delivered = service.notify(
        title=f"rowback: {document['event']}", body=f"{document['text']} (case {document['case']})"
    )
    return "delivered" if delivered else "failed: apprise could not deliver it"
