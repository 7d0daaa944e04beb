"""When the CI job began that this process belongs to, and whether this is a CI job at all."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from guards.process_table import Process, ancestors, process, started_at_s

# Services are started before the container of the job (GitLab's Docker executor, pods), after their images are there.
SERVICES_FIRST = timedelta(minutes=10)
_CONTAINER_S = 30.0  # the first process of a machine is there within seconds of the boot; that of a container is not

# One for each job: its own start is that of the job.
OF_ONE_JOB = ("Runner.Worker", "Agent.Worker", "buildkite-agent-bootstrap")
# They stay between jobs: the job is what they started.
RUNNERS = (
    "Runner.Listener",
    "Agent.Listener",
    "gitlab-runner",
    "buildkite-agent",
    "circleci-runner",
    "circleci-launch-ag",
    "act_runner",
    "forgejo-runner",
    "drone-runner",
    "woodpecker-agen",
    "concourse",
    "teamcity-agent",
    "java",
    "jenkins",
    "TeamCityAgent",
    "harness",
)
# Nothing above these belongs to a job.
_ABOVE_ALL = (
    "systemd",
    "init",
    "sshd",
    "tmux",
    "tmux: server",
    "screen",
    "containerd-shim",
    "dockerd",
    "login",
    "cron",
)
# Set by services that do not set CI.
_OTHER_NAMES = ("TF_BUILD", "CODEBUILD_BUILD_ID", "TEAMCITY_VERSION", "JENKINS_URL")
_NO = ("", "0", "false", "no", "off")


def in_ci(environment: Mapping[str, str]) -> bool:
    """Whether the environment is that of a CI job. `CI=false` says that it is not."""
    if "CI" in environment:
        return environment["CI"].strip().lower() not in _NO
    return any(environment.get(name, "").strip().lower() not in _NO for name in _OTHER_NAMES)


def job_began_at() -> datetime | None:
    """When this job began, at the earliest; None where nothing tells.

    GitLab says it. Elsewhere: the start of the process that a runner has for each job, or of what a runner that stays
    has started; in a container its own start, less what services may be ahead; else the start of this session.
    """
    with suppress(ValueError):
        announced = datetime.fromisoformat(os.environ.get("CI_JOB_STARTED_AT", ""))
        if announced.tzinfo:
            return announced.astimezone(UTC)
    chain = list(ancestors(os.getpid()))
    if job := _of_runner(chain):
        return _start(job)
    if (first := process(1)) and _in_container(first):
        began = _start(first)
        return began - SERVICES_FIRST if began else None
    if not chain:
        return None
    return _start(next((each for each in chain if each.pid == chain[0].session_id), _below_all(chain)))


def _of_runner(chain: Sequence[Process]) -> Process | None:
    """The process that stands for the job, in the chain from this process up to the first one."""
    below = None
    for each in chain:
        if each.name.startswith(OF_ONE_JOB):
            return each
        if below and each.name.startswith(RUNNERS):
            return below
        below = each
    return None


def _below_all(chain: Sequence[Process]) -> Process:
    below = chain[0]
    for each in chain[1:]:
        if each.name.startswith(_ABOVE_ALL) or each.pid == 1:
            break
        below = each
    return below


def _in_container(first: Process) -> bool:
    return first.started_ticks / os.sysconf("SC_CLK_TCK") > _CONTAINER_S


def _start(of: Process) -> datetime | None:
    seconds = started_at_s(of)
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
