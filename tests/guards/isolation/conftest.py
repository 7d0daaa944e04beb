"""Fixtures of the tests here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from guards.isolation import Databases, Migrations, open_databases
from tests.fix_plain import Plain
from tests.guards.isolation.pools import SCHEMA


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("schema") / "schema.sql"
    path.write_text(SCHEMA)
    return path


@pytest.fixture(scope="module")
def databases(plain: Plain, schema: Path) -> Iterator[Databases]:
    with open_databases(Migrations.from_files(schema), dsn=plain.dsn()) as found:
        yield found
