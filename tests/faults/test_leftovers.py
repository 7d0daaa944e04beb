"""What killed undos and drills leave behind is swept: it holds rows of people."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from pathlib import Path

import pytest

from runbooks.drills.run_drill import HOME_PREFIX, sweep_homes
from runbooks.lab.background import pass_a_second
from tests.fix_cli import Cli, restoring, the_case
from tests.fix_lab import Database

AT = "tests.faults.signal_at"


@pytest.fixture
def repaired(cli: Cli, database: Database) -> tuple[str, Path]:
    database.run(
        "create table t (n int primary key, body text)",
        "insert into t select g, md5(g::text) from generate_series(1, 500) g",
    )
    moment = pass_a_second()
    database.run("delete from t where n % 5 = 0")
    assert cli(*restoring(cli, database, moment)).code == 0
    case = the_case(cli)["case"]
    return case, cli.home / "cases" / case


def files(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.glob("changes-*"))


@pytest.mark.parametrize("event", ["changes.begun", "undo.intent"])
def test_a_killed_undo_leaves_nothing_once_it_is_gone_on_with(
    cli: Cli, database: Database, repaired: tuple[str, Path], event: str
) -> None:
    case, directory = repaired
    process = cli.start("SIGKILL", event, "-", "undo", case, "--confirm", database.name, module=AT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, err
    (directory / "changes-2.sqlite-journal").write_bytes(b"half a transaction of a process that was killed")
    (directory / "changes-7.sqlite").write_bytes(b"rows of somebody")
    assert cli("undo", case, "--confirm", database.name).code == 0
    assert database.rows("select count(*) from t") == [(400,)]
    used = [
        record["data"]["number"]
        for record in map(json.loads, (directory / "journal.jsonl").open())
        if record["event"] in ("undo.intent", "undo.done")
    ]
    assert files(directory) == sorted({"changes-1.sqlite", *(f"changes-{number}.sqlite" for number in used)})


def test_a_look_at_an_undo_leaves_nothing(cli: Cli, repaired: tuple[str, Path]) -> None:
    case, directory = repaired
    assert cli("undo", case, "--dry-run").code == 0
    assert files(directory) == ["changes-1.sqlite"]


def test_cleanup_sweeps_closed_cases(cli: Cli, database: Database, repaired: tuple[str, Path]) -> None:
    case, directory = repaired
    (directory / "changes-2.sqlite").write_bytes(b"rows of somebody")
    cleaned = cli(
        "cleanup", cli.live.identifier, "--database", database.name, "--older-than", "30d", "--confirm", database.name
    )
    assert cleaned.code == 0, cleaned.err
    assert files(directory) == ["changes-1.sqlite"]


def test_homes_of_killed_drills_are_swept_and_no_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name, pid in (("dead", "4194305"), ("alive", str(os.getpid())), ("odd", "no pid")):
        home = tmp_path / f"{HOME_PREFIX}{name}"
        home.mkdir()
        (home / "pid").write_text(pid)
    (tmp_path / "rowback-drill-logs-kept").mkdir()
    (tmp_path / f"{HOME_PREFIX}link").symlink_to(tmp_path / "rowback-drill-logs-kept")
    sweep_homes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{HOME_PREFIX}alive",
        f"{HOME_PREFIX}link",
        f"{HOME_PREFIX}odd",
        "rowback-drill-logs-kept",
    ]
