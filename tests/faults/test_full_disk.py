"""The disk of the state directory fills while a recovery runs: said as that, and gone on with once there is room."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runbooks.lab.background import pass_a_second
from tests.fix_cli import Cli, restoring
from tests.fix_lab import Database


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[None]:
    """A file system of that size at `place`; skipped where this machine mounts none."""
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], check=False).returncode:
        pytest.skip("this machine mounts no file systems")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.parametrize("size", ["200k", "600k", "1000k"])
def test_it_fills_while_rows_are_compared(cli: Cli, database: Database, size: str, tmp_path: Path) -> None:
    """However early it is full: exit 38, nothing written; with room, resume ends it."""
    database.run(
        "create table t (n int primary key, body text)",
        "insert into t select g, repeat(md5(g::text), 8) from generate_series(1, 6000) g",
    )
    held = database.rows("select count(*), md5(string_agg(t::text, '|' order by n)) from t")
    moment = pass_a_second()
    database.run("delete from t where n % 2 = 0")
    home = tmp_path / "small"
    with small_disk(home, size):
        ran = cli(*restoring(cli, database, moment), ROWBACK_HOME=str(home))
        assert ran.code == 38, ran.err
        assert "error[disk-full]: " in ran.err
        assert "Traceback" not in ran.err
        assert database.rows("select count(*) from t") == [(3000,)]
        subprocess.run(["mount", "-o", "remount,size=64m", home], check=True)
        (case,) = json.loads(cli("cases", "--json", ROWBACK_HOME=str(home)).out)
        assert f"rowback resume {case['case']}" in ran.err
        resumed = cli("resume", case["case"], ROWBACK_HOME=str(home))
        if resumed.code == 21:  # filled before the approval was written down
            digest = json.loads(cli("diff", case["case"], "--json", ROWBACK_HOME=str(home)).out)["digest"][:8]
            confirmed = ("apply", case["case"], digest, "--confirm", database.name)
            assert cli(*confirmed, ROWBACK_HOME=str(home)).code == 0
            resumed = cli("resume", case["case"], ROWBACK_HOME=str(home))
        assert resumed.code == 0, resumed.err
        assert database.rows("select count(*), md5(string_agg(t::text, '|' order by n)) from t") == held
