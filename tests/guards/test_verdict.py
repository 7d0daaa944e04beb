"""Evidence in, verdict out: unknown is refused, a valid mark decides, a copy's mark counts for nothing."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from guards.allowance import NamedMark
from guards.database_mark import Marker, read_marker
from guards.guarded_run import this_run
from guards.policy import Policy
from guards.server_evidence import Evidence
from guards.server_identity import ServerIdentity
from guards.verdict import judge

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
IDENTITY = ServerIdentity("7300000000000000001", 16400, "app", 170000, "2026-11-22")
OLD = Evidence(
    identity=IDENTITY,
    server="127.0.0.1:5432",
    role="app",
    born_at=NOW - timedelta(days=900),
    at=NOW,
    comment_marker=None,
    unreadable_mark=False,
    size_bytes=10**7,
    fsync_off=False,
    standby=False,
    archiving=False,
    managed=(),
)
HERE = "backend 7 on this machine serves our port 40000"
YOUNG = replace(OLD, born_at=NOW - timedelta(minutes=2))
CI = Policy("ci", job_began_at=NOW - timedelta(minutes=5))
NEXT_DOOR = replace(YOUNG, next_door="docker0")
HOURS = timedelta(hours=1)


def ci(began: timedelta, run: timedelta = timedelta(0)) -> Policy:
    """A job that began so long ago, of which this run began so long ago."""
    return Policy("ci", job_began_at=NOW - began, run_began_at=NOW - run)


def dev(run: timedelta) -> Policy:
    return Policy("dev", run_began_at=NOW - run)


def aged(age: timedelta, **more: Any) -> Evidence:
    return replace(OLD, born_at=NOW - age, **more)


MARK = Marker("disposable", IDENTITY.system_identifier, 16400, "ann", "scratch", (NOW + timedelta(days=1)).isoformat())


def marked(marker: Marker) -> Evidence:
    return replace(OLD, comment_marker=marker)


@pytest.mark.parametrize(
    ("evidence", "policy", "disposable"),
    [
        (OLD, Policy(), False),
        (OLD, CI, False),
        (replace(OLD, on_this_kernel=HERE), Policy(), False),  # the one real database of a developer
        (replace(YOUNG, on_this_kernel=HERE), Policy(), True),
        (YOUNG, Policy(), False),
        (YOUNG, CI, False),  # one proof: somebody else's job may have made it
        (replace(YOUNG, fsync_off=True), CI, True),  # a service container called `db`
        (replace(YOUNG, on_this_kernel=HERE), CI, True),
        (replace(OLD, on_this_kernel=HERE, fsync_off=True), CI, True),
        (replace(OLD, on_this_kernel=HERE, next_door="docker0"), CI, False),  # one fact, told by two witnesses (D3)
        (NEXT_DOOR, CI, True),
        (NEXT_DOOR, Policy(), True),  # a developer's container reaches another one
        (replace(OLD, next_door="docker0"), Policy(), False),
        # a runner that is up for 200 days: its start says nothing of the job (D2)
        (aged(100 * 24 * HOURS, on_this_kernel=HERE), ci(200 * 24 * HOURS), False),
        (aged(7 * HOURS, on_this_kernel=HERE), ci(8 * HOURS), False),
        (aged(5 * HOURS, on_this_kernel=HERE), ci(8 * HOURS), True),
        (
            aged(7 * HOURS, on_this_kernel=HERE),
            ci(8 * HOURS, run=2 * HOURS),
            True,
        ),  # what was proven holds until the run ends
        # the hour counts to the beginning of the run, not into it
        (aged(HOURS + timedelta(seconds=2), on_this_kernel=HERE), dev(timedelta(seconds=3)), True),
        (aged(HOURS + timedelta(seconds=4), on_this_kernel=HERE), dev(timedelta(seconds=3)), False),
        (aged(5 * 24 * HOURS, on_this_kernel=HERE), dev(10 * 24 * HOURS), False),  # a notebook is no run of tests
        (replace(YOUNG, fsync_off=True), Policy("ci", job_began_at=None), False),
        (
            replace(YOUNG, born_at=NOW + timedelta(days=1), on_this_kernel=HERE),
            Policy(),
            False,
        ),  # a clock that is wrong
        (marked(MARK), Policy(), True),
        (marked(MARK), CI, True),
        (replace(marked(MARK), managed=("Amazon RDS",), archiving=True), Policy(), True),  # its owner said so
        (marked(replace(MARK, until=(NOW - timedelta(seconds=1)).isoformat())), Policy(), False),
        (marked(replace(MARK, system_identifier="1")), Policy(), False),
        (marked(replace(MARK, database_oid=1)), Policy(), False),
        (
            replace(YOUNG, on_this_kernel=HERE, comment_marker=replace(MARK, state="protected", until=None)),
            Policy(),
            False,
        ),
        (
            replace(
                YOUNG, on_this_kernel=HERE, comment_marker=replace(MARK, state="protected", until=None, database_oid=1)
            ),
            Policy(),
            True,
        ),  # a copy of a protected database is not protected
    ],
)
def test_verdicts(evidence: Evidence, policy: Policy, disposable: bool) -> None:
    found = judge(evidence, policy, NOW)
    assert found.disposable is disposable, found
    assert bool(found.missing or found.vetoes) is not disposable, "a refusal says what is missing"


@pytest.mark.parametrize(
    ("against", "told"),
    [
        ({"managed": ("Amazon RDS", "Neon")}, "it is managed: Amazon RDS"),
        ({"unreadable_mark": True}, "it bears a mark that this version of rowback cannot read"),
        ({"standby": True}, "it is a standby of another server"),
        ({"replicas": 2, "from_afar": 1}, "2 replicas follow it"),
        ({"archiving": True}, "its WAL is archived: it is meant to be restorable"),
        ({"size_bytes": 11 * 2**30}, "it holds 11.0 GiB"),
        ({"foreign_sessions": 3, "from_afar": 1}, "3 sessions of others are in it"),
    ],
)
def test_a_single_veto_outweighs_all_proofs(against: dict[str, Any], told: str) -> None:
    proven = replace(YOUNG, on_this_kernel=HERE, fsync_off=True)
    for policy in (Policy(), CI):
        assert judge(proven, policy, NOW).disposable
        found = judge(replace(proven, **against), policy, NOW)
        assert (found.disposable, found.vetoes) == (False, (told,))


def test_a_new_server_here_has_all_the_parts_of_a_suite() -> None:
    """Two roles, an application's container, a subscriber, a local Supabase: none of them comes from afar."""
    parts: dict[str, Any] = {"foreign_sessions": 2, "replicas": 1, "managed": ("Supabase",)}
    for policy in (Policy(), CI):
        for near in (replace(YOUNG, on_this_kernel=HERE), NEXT_DOOR):
            assert judge(replace(near, **parts), policy, NOW).disposable
            assert judge(replace(near, **parts, from_afar=1), policy, NOW).vetoes == (
                "1 replica follows it",
                "2 sessions of others are in it",
            )
    old = replace(OLD, on_this_kernel=HERE, fsync_off=True, foreign_sessions=1)
    assert judge(old, CI, NOW).vetoes == ("1 session of others is in it",), "no server of this job"


def test_only_the_run_that_made_a_database_may_destroy_it() -> None:
    own = replace(MARK, run=this_run().key)
    assert judge(marked(own), Policy(), NOW).disposable
    found = judge(marked(replace(MARK, run="another/1/2")), Policy(), NOW)
    assert (found.disposable, found.missing[0]) == (False, "another run of tests made it for itself")


def test_a_mark_by_name_outlives_the_database_on_this_machine_alone() -> None:
    named = NamedMark(IDENTITY.system_identifier, "app", "ann", "scratch", (NOW + timedelta(days=1)).isoformat())
    policy = Policy(named=(named,))
    assert judge(replace(OLD, on_this_kernel=HERE), policy, NOW).disposable
    copied = replace(OLD, on_this_kernel=HERE, comment_marker=replace(MARK, database_oid=1))
    assert judge(copied, policy, NOW).disposable, "made anew"
    protected = replace(MARK, state="protected", until=None)
    for other in (
        OLD,
        replace(OLD, on_this_kernel=HERE, comment_marker=protected),
        replace(OLD, on_this_kernel=HERE, unreadable_mark=True),
        replace(OLD, on_this_kernel=HERE, identity=replace(IDENTITY, database="other")),
        replace(OLD, on_this_kernel=HERE, identity=replace(IDENTITY, system_identifier="7")),
    ):
        assert not judge(other, policy, NOW).disposable
    assert not judge(replace(OLD, on_this_kernel=HERE), policy, NOW + timedelta(days=2)).disposable


def test_whatever_is_unknown_is_refused() -> None:
    """No combination of absences proves anything: every true verdict has a mark, or two proofs and no veto."""
    for on_this_kernel, born, fsync, mark, managed, policy in itertools.product(
        (None, HERE),
        (OLD.born_at, YOUNG.born_at),
        (False, True),
        (None, MARK, replace(MARK, database_oid=3)),
        ((), ("Cloud SQL",)),
        (Policy(), CI, Policy("ci")),
    ):
        evidence = replace(
            OLD, on_this_kernel=on_this_kernel, born_at=born, fsync_off=fsync, comment_marker=mark, managed=managed
        )
        found = judge(evidence, policy, NOW)
        if found.disposable:
            assert mark == MARK or (len(found.proofs) >= 2 and not found.vetoes)


@pytest.mark.parametrize(
    "comment",
    [
        None,
        "",
        "app database",
        "{}",
        "[]",
        "[" * 200_000,
        '{"rowback_guard": 1}',
        '{"rowback_guard": {"state": "disposable"}}',
        '{"rowback_guard": {"state": "disposable", "system_identifier": "1", "database_oid": 1, "by": "",'
        ' "reason": ""}}',
        '{"rowback_guard": {"state": "free", "system_identifier": "1", "database_oid": 1, "by": "", "reason": "",'
        ' "until": "2030-01-01T00:00:00+00:00"}}',
        '{"rowback_guard": {"state": "disposable", "system_identifier": "1", "database_oid": 1, "by": "", "reason": "",'
        ' "until": "2030-01-01T00:00:00"}}',
        '{"rowback_guard": {"state": "disposable", "system_identifier": "1", "database_oid": 1, "by": "", "reason": "",'
        ' "until": "soon"}}',
    ],
)
def test_what_is_not_wholly_a_mark_is_none(comment: str | None) -> None:
    assert read_marker(comment) is None
