"""Fixtures of the tests here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fix_lab import Live
from tests.scenarios.find.incidents import settings


@pytest.fixture
def logged(live: Live) -> Iterator[Live]:
    """The instance logs every statement, as stderr."""
    settings(live, log_statement="all", log_destination="stderr")
    yield live
    settings(live, log_statement="none", log_destination="stderr")
