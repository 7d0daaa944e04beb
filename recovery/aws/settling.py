"""When a restored instance is believed to be available: it is modified and rebooted in between."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from recovery.aws.restorable_source import StatusListener
from recovery.model.instance import InstanceFacts

LOOKS_TO_BELIEVE: Final = 3  # in a row; CloudFormation and Terraform wait for the same (sources: RDS-waiting)
SETTLED: Final = timedelta(minutes=15)


@dataclass(frozen=True)
class Insistence:
    """A call that is made again while what refuses it passes: its name, what is so meanwhile, and until when.

    `watch`: called with what RDS answers.
    """

    name: str
    state: str
    deadline: float
    watch: StatusListener


def settled(instance: InstanceFacts) -> bool:
    """Whether it was created long enough ago for one look to be believed."""
    return instance.created_at is not None and datetime.now(UTC) - instance.created_at > SETTLED


def shown(instance: InstanceFacts | None) -> str:
    """Its status, with how much of its storage is loaded from S3."""
    if instance is None:
        return "not visible yet"
    if instance.loaded_percent is None:
        return instance.status
    return f"{instance.status}, {instance.loaded_percent} % of its storage loaded"


def is_loading(instance: InstanceFacts) -> bool:
    """Whether blocks of its volume are still loaded from S3: each when it is first read."""
    return instance.loaded_percent is not None or instance.status == "storage-initialization"
