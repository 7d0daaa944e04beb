"""rowback.toml for profiles and for guards; files of guards and of drills in the state home."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

from guards import system_clock
from guards.allowance import allowances, named_marks
from guards.policy import policy_here
from recovery.config import load_profile, profile_names
from recovery.report.drills_text import drills_text
from recovery.store.drill_history import held_drills
from tests.fuzz.mutations import mutated, mutated_bytes
from tests.fuzz.structures import mutated_document
from tests.fuzz.target import Invocation, Target, printed

TOML = b"""[profiles.staging]
instance = "docs-staging"
region = "eu-west-1"
database = "docs"
credentials = {source = "secretsmanager", arn = "arn:aws:secretsmanager:eu-west-1:1:secret:x"}
copy_expires_hours = 24
ca_bundle = "ca.pem"
sslmode = "verify-full"
lock_timeout_ms = 2000
approvals_needed = 1
approvals_by = "session"
rto_minutes = 30.5
notify = [{url = "https://h.invalid/x"}, {command = ["x", "y"]}, {apprise_env = "A"}, {url_env = "B"}]

[profiles.iam.credentials]
source = "iam"
user = "u"

[[reference]]
from = "a.b.c.d"
to = "e.f.g.h"

[guard]
strictness = "ci"
allow = "forbidden"
application = ["$DATABASE_URL", ".env:DATABASE_URL", "postgresql://h/db"]
uncovered_drivers = "warn"
"""
TOKENS = (
    "[profiles.staging]",
    "[[reference]]",
    "[guard]",
    "=",
    " = ",
    '"',
    "'''",
    '"""',
    "{",
    "}",
    "[",
    "]",
    ",",
    ".",
    "#",
    "true",
    "nan",
    "-inf",
    "1e400",
    "0x",
    "1979-05-27T07:32:00Z",
    "24:00:00",
    "source",
    "iam",
    "libpq",
    "x = {}",
    "a.b = 1",
    "\n",
    "\r",
    "\\uD800",
    "\\x",
    "staging",
    "guard = 1",
    "profiles = 1",
    "strictness = []",
    "allow = {}",
    "\xff",
    "\x00",
)
ALLOWANCE = {
    "system_identifier": "7713718391311290560",
    "database_oid": 16404,
    "started": "1795990018.5",
    "by": "ann",
    "reason": "x",
    "until": "2999-01-01T00:00:00+00:00",
}
NAMED = {
    **{name: value for name, value in ALLOWANCE.items() if name not in ("database_oid", "started")},
    "database": "d",
}
DRILL = {
    "schema_version": 1,
    "at": "2026-11-22T14:20:00Z",
    "target": "docs-staging",
    "fault": "truncate",
    "passed": True,
    "recovery_time_s": 30.0,
    "data_loss_s": None,
    "objectives": {"recovery_time_s": 60, "data_loss_s": 5},
    "phases_s": {"load": 1.0},
    "rows": 3,
    "tool_version": "0.1.0",
}
MOMENTS = ("2026-11-22T14:20:00", "9999-12-31T23:59:59-14:00", "2999-01-01T00:00:00Z", "2026-W01")


def _make(rng: Random) -> bytes:
    return mutated_bytes(rng, (TOML,), TOKENS)


def _act(data: bytes, directory: Path) -> None:
    path = directory / "rowback.toml"
    path.write_bytes(data)
    if len(data) % 2:
        policy_here(place=directory)
        return
    printed("\n".join(profile_names()))
    profile = load_profile("staging")
    printed(profile.model_dump_json())
    printed(str([str(each) for each in profile.references]))


def _command(data: bytes, directory: Path) -> Invocation:
    (directory / "rowback.toml").write_bytes(data)
    if len(data) % 2:
        return Invocation(("guard", "run", "--", "true"), {"ROWBACK_GUARD": "on"})
    return Invocation(("plan", "--profile", "staging", "--at", "2026-11-22T14:20:00Z", "--json"))


def _file(rng: Random, document: Any) -> str:
    if rng.random() < 0.2:
        return mutated(rng, (json.dumps(document),), ("null", "NaN", "{", "[", "\\ud800"))
    return json.dumps(mutated_document(rng, (document,), MOMENTS))


def _make_guard(rng: Random) -> tuple[str, str]:
    name, document = rng.choice((("a.json", ALLOWANCE), ("a.name", NAMED)))
    return name, _file(rng, document)


def _act_guard(data: tuple[str, str], directory: Path) -> None:
    name, text = data
    place = directory / "home" / "guard"
    place.mkdir(exist_ok=True)
    path = place / name
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    path.chmod(0o600)
    for each in (*allowances(system_clock.now()), *named_marks(system_clock.now())):
        assert str(each)  # shown on stderr, which takes any text
    path.unlink()


def _make_drill(rng: Random) -> str:
    return _file(rng, DRILL)


def _act_drill(data: str, directory: Path) -> None:
    _keep_drill(data, directory)
    printed(drills_text(held_drills()))


def _keep_drill(data: str, directory: Path) -> None:
    place = directory / "home" / "drills"
    place.mkdir(exist_ok=True)
    (place / "20261122-142000-000000.json").write_bytes(data.encode("utf-8", "surrogatepass"))


def _drill_command(data: str, directory: Path) -> Invocation:
    _keep_drill(data, directory)
    return Invocation(("drills", *(["--json"] if len(data) % 2 else [])))


TARGETS = (
    Target("toml", _make, _act, 20, _command),
    Target("guard-files", _make_guard, _act_guard, 30),
    Target("drill-files", _make_drill, _act_drill, 30, _drill_command),
)
