"""Recoveries that are told of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.fix_cli import Cli
from tests.fix_lab import Database


def restore(cli: Cli, database: Database, target: str, *extra: str, **environment: str) -> Any:
    return cli(
        "restore",
        cli.live.identifier,
        "--at",
        target,
        "--database",
        database.name,
        "--confirm",
        database.name,
        *extra,
        **environment,
    )


@dataclass
class Heard:
    """A webhook that remembers."""

    port: int
    documents: list[dict[str, str]] = field(default_factory=list)
