"""Other versions of a driver, as they can be had: guarded as well, or one line instead of a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fix_plain import Plain
from tests.guards import ways
from tests.guards.fix_contract import furnished, outcomes, rows
from tests.guards.inner import pytest_on

pytestmark = pytest.mark.matrix


@pytest.mark.parametrize("version", ["3.2.0", "3.2.13"])
def test_psycopg_3_2(old: Plain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    target = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target)]
    if subprocess.run(
        [*command, f"psycopg=={version}", f"psycopg-binary=={version}"], check=False, capture_output=True
    ).returncode:
        pytest.skip(f"psycopg {version} cannot be had here")
    monkeypatch.setenv("PYTHONPATH", str(target))
    dsn = furnished(old, f"psycopg_{version.replace('.', '_')}", "psycopg")
    ended = outcomes(tmp_path, dsn, "psycopg")
    for way in ways.names("psycopg"):
        if ways.verdict("psycopg", way) == ways.REFUSED:
            assert (ended[way], rows(dsn, "psycopg")[way]) == ("refused", 9), way


def test_a_driver_that_is_built_otherwise_ends_the_run_in_one_line(old: Plain, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("import psycopg\n")
    (tmp_path / "strange.py").write_text("import psycopg._queries\ndel psycopg._queries.PostgresClientQuery\n")
    found = pytest_on(tmp_path, "def test(): pass", old.dsn(), "-p", "strange", PYTHONPATH=str(tmp_path))
    assert found.code == 4
    assert "Traceback" not in found.out
    (line,) = [line for line in found.out.splitlines() if "error[driver-unknown]" in line]
    assert line.startswith("ERROR: error[driver-unknown]: psycopg 3.")
    assert " is built otherwise than the guard knows it: module 'psycopg._queries' has no attribute" in line
