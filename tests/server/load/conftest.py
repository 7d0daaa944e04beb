"""Fixtures of the tests here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fix_lab import Database, Live, database_on


@pytest.fixture
def source(live: Live) -> Iterator[Database]:
    """What the copy would be: another database of the same cluster is enough to move rows."""
    yield from database_on(live)
