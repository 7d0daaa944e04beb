"""Passwords appear in no journal, report, terminal, process argument or file: neither the user's nor the copy's."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from runbooks.lab.background import pass_a_second
from tests.fix_cli import Cli, restoring
from tests.fix_lab import Database


@contextlib.contextmanager
def every_command_line() -> Iterator[set[str]]:
    """The command line of every process that runs meanwhile."""
    seen: set[str] = set()
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.001):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    seen.add(path.read_bytes().decode(errors="replace"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        stop.set()
        watcher.join()


@pytest.mark.parametrize("works", [True, False])
def test_no_password_is_ever_written_down(
    cli: Cli, database: Database, works: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = cli.live.lab.engine
    passwords: list[str] = [cli.live.password]
    reset = engine.reset_password

    def listening(instance: object, password: str) -> None:
        passwords.append(password)
        reset(instance, password)  # type: ignore[arg-type]

    monkeypatch.setattr(engine, "reset_password", listening)
    configuration = cli.home / "impatient.toml"
    configuration.parent.mkdir(parents=True, exist_ok=True)
    configuration.write_text("[profiles.p]\nlock_attempts = 2\n")
    database.run("create table t (n int)", "insert into t select generate_series(1, 50000)")
    target = pass_a_second()
    database.run("truncate t")
    with every_command_line() as seen, database.connect() as blocker, blocker.transaction():
        if not works:
            blocker.execute("lock table t in row exclusive mode")
        dumped = ("--profile", "p", "--load", "in-place")  # tables that are swapped are streamed
        ran = cli(*restoring(cli, database, target, *dumped), ROWBACK_CONFIG=str(configuration))
    assert (ran.code == 0) is works, ran.err
    assert len(passwords) == 2, "the copy got a password of its own"
    assert any("pg_dump" in command and "--format=directory" in command for command in seen)
    case = json.loads(cli("cases", "--json").out)[0]["case"]
    files = [p.read_bytes().decode(errors="replace") for p in cli.home.rglob("*") if p.is_file()]
    said = [ran.out, ran.err, cli("report", case).out, cli("status", case).out, *files, *seen]
    for password in passwords:
        assert not [text for text in said if password in text]
    if not works:
        assert cli("close", case).code == 0
