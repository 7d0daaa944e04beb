"""When a job began and which run a process belongs to, asked of real processes; CI by the variables of its services."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from guards import system_clock
from guards.ci_job import in_ci
from guards.guarded_run import VARIABLE, this_run
from guards.process_table import process
from tests.guards.inner import clean_environment


@pytest.mark.parametrize(
    ("environment", "ci"),
    [
        ({}, False),
        ({"CI": "true"}, True),
        ({"CI": "1"}, True),
        ({"CI": "woodpecker"}, True),
        ({"CI": "false"}, False),
        ({"CI": "0"}, False),
        ({"CI": "False", "TF_BUILD": "True"}, False),
        ({"CI": ""}, False),
        ({"TF_BUILD": "True"}, True),
        ({"CODEBUILD_BUILD_ID": "docs:1"}, True),
        ({"JENKINS_URL": "http://ci"}, True),
        ({"TEAMCITY_VERSION": "2026.1"}, True),
        ({"GITHUB_TOKEN": "x"}, False),
    ],
)
def test_what_says_that_this_is_ci(environment: dict[str, str], ci: bool) -> None:
    assert in_ci(environment) is ci


def told(code: str, *before: str, cwd: Path | None = None, **environment: Any) -> str:
    done = subprocess.run(
        [*before, sys.executable, "-c", textwrap.dedent(code)],
        check=False,
        text=True,
        capture_output=True,
        cwd=cwd,
        env=clean_environment(PYTHONPATH=str(Path(__file__).parents[2]), **environment),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# Its boot time is told in whole seconds, the start of a process in ticks, both rounded down.
KERNEL_ROUNDS = timedelta(seconds=1 + 1 / os.sysconf("SC_CLK_TCK"))
BEGAN = "from guards.ci_job import job_began_at; print(job_began_at().isoformat())"


def began(*before: str, **environment: Any) -> datetime:
    return datetime.fromisoformat(told(BEGAN, *before, **environment))


def test_gitlab_says_when_its_job_began() -> None:
    for said in ("2026-11-28T10:00:00+01:00", "2026-11-28T09:00:00Z"):
        assert began(CI_JOB_STARTED_AT=said) == datetime(2026, 11, 28, 9, tzinfo=UTC)
    for said in ("yesterday", "2026-11-28T09:00:00"):  # no offset: nobody knows which
        assert began(CI_JOB_STARTED_AT=said) != datetime(2026, 11, 28, 9, tzinfo=UTC)


@pytest.mark.parametrize("name", ["Runner.Listener", "gitlab-runner", "buildkite-agent", "Agent.Listener"])
def test_the_job_is_what_a_runner_that_stays_has_started(tmp_path: Path, name: str) -> None:
    shutil.copy("/bin/sh", tmp_path / name)
    before = system_clock.now() - KERNEL_ROUNDS
    inner = began(str(tmp_path / name), "-c", 'sh -c \'"$@"; exit\' job "$@"; exit', "runner")
    assert before <= inner <= system_clock.now()
    worker = tmp_path / "Runner.Worker"
    shutil.copy("/bin/sh", worker)
    assert before <= began(str(worker), "-c", '"$@"; exit', "worker") <= system_clock.now()


def test_without_a_runner_it_is_the_session() -> None:
    """setsid begins one: a terminal, or what a service has started."""
    before = system_clock.now() - KERNEL_ROUNDS
    assert before <= began("setsid", "--wait", "sh", "-c", '"$@"; exit', "sh") <= system_clock.now()


def test_children_belong_to_the_run_of_the_process_that_they_descend_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)  # of the plugin in this very run
    ours = this_run()
    own = process(os.getpid())
    assert own is not None
    assert ours.key.endswith(f"/{own.pid}/{own.started_ticks}")
    assert ours.began_at <= system_clock.now()
    key = "from guards.guarded_run import this_run; print(this_run().key)"
    said: dict[str, Any] = {VARIABLE: ours.key}
    assert told(key, **said) == ours.key
    assert told(key, "sh", "-c", '"$@"; exit', "sh", **said) == ours.key
    for left_behind in ("", "another-boot/1/1", ours.key + "0", f"{ours.key.rpartition('/')[0]}/1"):
        said = {VARIABLE: left_behind}
        assert told(key, **said) not in (ours.key, left_behind)


def test_the_clock_is_the_machines() -> None:
    assert abs((system_clock.now() - datetime.now(UTC)).total_seconds()) < 1
    first = system_clock.seconds()
    assert system_clock.seconds() >= first
