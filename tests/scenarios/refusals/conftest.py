"""Fixtures of the tests here."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pytest

from runbooks.lab.background import pass_a_second
from tests.fix_cli import Cli
from tests.fix_lab import Database


@pytest.fixture(autouse=True)
def nothing_is_left(cli: Cli) -> Iterator[None]:
    """Whatever a test provokes: no copy, no case."""
    before = set(cli.live.lab.engine.instances)
    yield
    left = set(cli.live.lab.engine.instances) - before
    assert [name for name in left if name.startswith("rowback-")] == []


@pytest.fixture
def target(database: Database) -> datetime:
    database.run("create table t (n int)", "insert into t values (1)")
    moment = pass_a_second()
    database.run("truncate t")
    return moment
