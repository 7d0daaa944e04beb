"""Fixtures of the tests here."""

from __future__ import annotations

import pytest

from runbooks.lab.background import pass_a_second
from tests.fix_cli import Cli, restoring
from tests.fix_lab import Database


@pytest.fixture
def paused(cli: Cli, database: Database) -> str:
    """A case with its copy, stopped before anything was compared."""
    database.run("create table t (n int primary key)", "insert into t select generate_series(1, 50)")
    moment = pass_a_second()
    database.run("delete from t where n > 40")
    opened = cli("open", *restoring(cli, database, moment)[1:-2])
    assert opened.code == 0, opened.err
    return opened.out.strip()
