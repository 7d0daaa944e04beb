"""The kinds of RestorableSource on the lab, and what their tests share. A further source is a line in SOURCES."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from recovery.aws.instances import Instances
from recovery.aws.restorable_source import RestorableSource
from recovery.model.deletion import Copy, CreationRequest
from recovery.model.instance import CopySettings, InstanceFacts
from runbooks.lab.background import pass_a_second
from runbooks.lab.lab_server import REGION, Lab
from runbooks.lab.lab_state import CallFault
from tests.fix_lab import Live, discard, start_instance, wait_until

# Of each kind: how it is connected to, and how the lab makes an original of it.
SOURCES: dict[str, tuple[Callable[[str | None], RestorableSource], Callable[[Lab], Live]]] = {
    "instance": (Instances.connect, start_instance),
}
DEADLINE_S = 60.0


@dataclass(frozen=True)
class Restorable:
    """One kind on the lab: an original, and the source under test."""

    source: RestorableSource
    live: Live

    @property
    def original(self) -> InstanceFacts:
        return self.source.get(self.live.identifier)

    def copy(self, moment: datetime) -> Copy:
        call = CreationRequest(nonce=secrets.token_hex(16), requested_at=datetime.now(UTC), target_time=moment)
        case = f"contract-{secrets.token_hex(4)}"
        return Copy(case=case, source_resource_id=self.original.resource_id, creation=call)

    def start(self, copy: Copy, database: str | None = "post gres") -> InstanceFacts:
        settings = CopySettings.like(self.original, instance_class=None, expires_after_hours=3)
        return self.source.start_copy(copy, self.original, database, settings)

    def reaches(self, moment: datetime) -> None:
        wait_until(lambda: self.source.window(self.original).latest >= moment, "the window reaches T")


@pytest.fixture(params=SOURCES, scope="module")
def place(request: pytest.FixtureRequest, lab: Lab) -> Iterator[Restorable]:
    connect, make = SOURCES[request.param]
    live = make(lab)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{lab.port}")
        environment.setenv("AWS_ACCESS_KEY_ID", "lab")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "lab")
        yield Restorable(connect(REGION), live)
    discard(lab, lambda name: name == live.identifier or name.startswith("rowback-contract-"))


def silent(status: str, seconds: float) -> None:
    """Nobody watches."""


def connected(facts: InstanceFacts, password: str) -> psycopg.Connection[Any]:
    assert facts.endpoint
    return psycopg.connect(
        host=facts.endpoint.host,
        port=facts.endpoint.port,
        user=facts.master_username,
        password=password,
        dbname="postgres",
        autocommit=True,
    )


def logged_in(facts: InstanceFacts, password: str) -> psycopg.Connection[Any]:
    """A session, once the server accepts a password of which RDS says that it is in force."""
    sessions: list[psycopg.Connection[Any]] = []

    def accepted() -> bool:
        with contextlib.suppress(psycopg.OperationalError):
            sessions.append(connected(facts, password))
        return bool(sessions)

    wait_until(accepted, "the password is accepted")
    return sessions[0]


def spoiled(place: Restorable, action: str, code: str, times: int = 1) -> None:
    place.live.lab.engine.faults.calls.append(CallFault(action, code, times=times))


def started(place: Restorable) -> Copy:
    moment = pass_a_second()
    place.reaches(moment)
    copy = place.copy(moment)
    place.start(copy)
    return copy
