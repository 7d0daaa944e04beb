"""Through a program that leads to servers which this machine does not reach: private instances, as most are."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from recovery.postgres import tunnel_keeper
from runbooks.lab.background import pass_a_second
from tests.fix_cli import Cli, restoring, the_case
from tests.fix_lab import Database, wait_until

ROWS = "select count(*), sum(hashtextextended(t::text, 0)) from t"


@pytest.fixture
def private(cli: Cli) -> Iterator[str]:
    """The original and its copies have names that nobody resolves, and certificates for them."""
    account = cli.live.lab.account
    account.private.update((cli.live.identifier, "rowback-"))
    yield cli.live.identifier
    account.private.clear()


@pytest.fixture
def record(private: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", os.getcwd())
    monkeypatch.chdir(tmp_path)
    return tmp_path / "carried"


def profile(cli: Cli, record: Path, *tunnel: str) -> None:
    program = [sys.executable, "-m", "tests.forwarder", "{host}", "{port}", "{local_port}", str(record)]
    Path("rowback.toml").write_text(
        f'[profiles.far]\ninstance = "{cli.live.identifier}"\nca_bundle = "{cli.live.lab.ca_bundle}"\n'
        f"tunnel = {json.dumps(list(tunnel) or program)}\n"
    )


@pytest.fixture
def target(database: Database) -> datetime:
    database.run(
        "create table t (n int primary key, x text)", "insert into t select g, 't' || g from generate_series(1, 400) g"
    )
    return pass_a_second()


def forwarders(record: Path) -> list[str]:
    commands = [_command(entry) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [command for command in commands if "tests.forwarder" in command and str(record) in command]


@pytest.mark.parametrize(
    ("incident", "transport"),
    [("truncate t", "dump"), ("truncate t", "copy"), ("delete from t where n % 3 = 0", "dump")],
)
def test_a_whole_recovery(
    cli: Cli, database: Database, record: Path, target: datetime, incident: str, transport: str
) -> None:
    """pg_dump's connections too, each verified by the name that RDS gave the server."""
    held = database.rows(ROWS)
    database.run(incident)
    profile(cli, record)
    ran = cli(*restoring(cli, database, target, "--profile", "far", "--transport", transport))
    assert ran.code == 0, ran.err
    assert database.rows(ROWS) == held
    case = the_case(cli)["case"]
    hosts = {line.split()[0] for line in record.read_text().splitlines()}
    assert hosts == {f"{cli.live.identifier}.lab.rds.invalid", f"rowback-{case}.lab.rds.invalid"}


def test_without_it_nothing_is_reached(cli: Cli, database: Database, record: Path, target: datetime) -> None:
    name = cli.live.identifier
    ran = cli(*restoring(cli, database, target), PGSSLROOTCERT=str(cli.live.lab.ca_bundle))
    assert ran.code == 30
    assert f"no connection to instance '{name}' at {name}.lab.rds.invalid:" in ran.err


def test_another_certificate_is_refused_through_it_too(
    cli: Cli, database: Database, record: Path, target: datetime
) -> None:
    from runbooks.lab.tls import create_authority

    profile(cli, record)
    foreign = Path("foreign.pem")
    foreign.write_text(create_authority().bundle)
    text = Path("rowback.toml").read_text().replace(str(cli.live.lab.ca_bundle), str(foreign.absolute()))
    Path("rowback.toml").write_text(text)
    ran = cli(*restoring(cli, database, target, "--profile", "far"))
    assert ran.code == 30
    assert "certificate verify failed" in ran.err or "SSL error" in ran.err
    assert "help: check ca_bundle: it must hold the CA that signed the server's certificate" in ran.err


@pytest.mark.parametrize(
    ("tunnel", "words"),
    [
        (
            ["no-such-bastion", "{host}", "{port}", "{local_port}"],
            (
                2,
                "error[config-invalid]: there is no program 'no-such-bastion', which the profile's tunnel begins with",
            ),
        ),
        (
            ["sh", "-c", "echo 'TargetNotConnected: i-1' >&2; exit 254", "{host}{port}{local_port}"],
            (30, "ended with code 254\n  TargetNotConnected: i-1\n"),
        ),
        (["ssh", "-L", "{local_port}:{host}"], (2, "its arguments have to hold {host}, {port}, {local_port}")),
    ],
)
def test_a_tunnel_that_does_not_come_up_says_why(
    cli: Cli, database: Database, record: Path, target: datetime, tunnel: list[str], words: tuple[int, str]
) -> None:
    profile(cli, record, *tunnel)
    ran = cli(*restoring(cli, database, target, "--profile", "far"))
    assert (ran.code, words[1] in ran.err) == (words[0], True), ran.err
    assert [name for name in cli.live.lab.engine.instances if name.startswith("rowback-")] == []


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_it_ends_with_the_process_however_that_ends_and_resume_opens_it_again(
    cli: Cli, database: Database, record: Path, target: datetime, ending: signal.Signals
) -> None:
    held = database.rows(ROWS)
    database.run("truncate t")
    profile(cli, record)
    options = restoring(cli, database, target, "--profile", "far")
    process = cli.start(ending.name, "step.done", "secure-copy", *options, module="tests.faults.signal_at")
    process.communicate(timeout=120)
    wait_until(lambda: forwarders(record) == [], "no tunnel is left")
    case = the_case(cli)["case"]
    journal = (cli.home / "cases" / case / "journal.jsonl").read_text()
    assert "tests.forwarder" not in journal, "a case names no program"
    resumed = cli("resume", case)
    assert resumed.code == 0, resumed.err
    assert database.rows(ROWS) == held


def test_a_tunnel_that_ends_meanwhile_is_opened_again(
    cli: Cli, database: Database, record: Path, target: datetime
) -> None:
    """Session Manager ends sessions that are idle for 20 minutes."""
    profile(cli, record)
    database.run("delete from t where n > 200")
    opened = cli("open", *restoring(cli, database, target)[1:-2], "--profile", "far")
    assert opened.code == 0, opened.err
    for entry in Path("/proc").iterdir():
        command = _command(entry) if entry.name.isdigit() else ""
        if str(record) in command and "tunnel_keeper" not in command:
            os.kill(int(entry.name), signal.SIGTERM)
    wait_until(lambda: [each for each in forwarders(record) if "keeper" not in each] == [], "they are gone")
    compared = cli("diff", opened.out.strip())
    assert compared.code == 0, compared.err
    assert "200" in compared.out
    assert cli("close", opened.out.strip()).code == 0


def _command(entry: Path) -> str:
    try:
        return (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def test_elsewhere_the_missing_tunnel_is_named(
    cli: Cli, database: Database, record: Path, target: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile(cli, record)
    database.run("delete from t where n > 200")
    opened = cli("open", *restoring(cli, database, target)[1:-2], "--profile", "far")
    assert opened.code == 0, opened.err
    case, here = opened.out.strip(), Path.cwd()
    elsewhere = here / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    ran = cli("diff", case)
    assert ran.code == 2
    assert (
        f"error[config-invalid]: case {case} was opened through the tunnel of profile 'far', which is not to be had"
        " here\n" in ran.err
    )
    assert "ROWBACK_CONFIG=/path/to/rowback.toml" in ran.err
    assert cli("close", case, ROWBACK_CONFIG=str(here / "rowback.toml")).code == 0


def test_a_program_whose_child_listens_takes_it_along(record: Path, tmp_path: Path) -> None:
    """A wrapper that ends, as command lines do that start a plugin."""
    script = tmp_path / "wrapper"
    script.write_text(f"#!/bin/sh\nsleep 300 {record} &\nsleep 0.2\n")
    script.chmod(0o755)
    keeper = subprocess.Popen([sys.executable, tunnel_keeper.__file__, str(script)], stdin=subprocess.PIPE)
    assert keeper.wait(30) == 0
    assert [entry for entry in Path("/proc").iterdir() if f"sleep 300 {record}" in _command(entry)] == []


def test_a_tunnel_that_leads_nowhere_is_named_with_its_words(
    cli: Cli, database: Database, record: Path, target: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recovery.postgres.connection_target.CONNECT_TIMEOUT_S", 2)
    words = (
        "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1])));"
        " print('no route to the target', flush=True); time.sleep(100)"
    )
    profile(cli, record, sys.executable, "-c", words, "{local_port}", "{host}", "{port}")
    ran = cli(*restoring(cli, database, target, "--profile", "far"))
    assert ran.code == 30
    assert "\n  no route to the target\n  the way there is a tunnel: " in ran.err
