"""Every test of the kinds runs on PostgreSQL 17 and, where there is one, on 15: an instance a module and a version."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runbooks.lab.lab_server import Lab
from tests.fix_cli import Cli
from tests.fix_lab import Database, Live, discard, start_instance
from tests.kinds.harness import World

BOTH = ("17", pytest.param("15", marks=pytest.mark.pg15))


@pytest.fixture(scope="module", params=BOTH)
def lab_of_a_version(request: pytest.FixtureRequest) -> Lab:
    """The lab of one of the versions; skips where that server is missing."""
    found = request.getfixturevalue("lab" if request.param == "17" else "lab15")
    assert isinstance(found, Lab)
    return found


@pytest.fixture(scope="module")
def live(lab_of_a_version: Lab) -> Iterator[Live]:
    """An instance for one module on one version."""
    started = start_instance(lab_of_a_version)
    yield started
    discard(started.lab, lambda name: name == started.identifier)


@pytest.fixture
def world(cli: Cli, database: Database) -> World:
    """See World."""
    return World(cli, database)
