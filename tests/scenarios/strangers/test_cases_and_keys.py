"""Cases from elsewhere, keys that cannot be relied on, journals that were altered."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recovery.store.journal import read_records
from runbooks.lab.background import pass_a_second
from tests.fix_cli import Cli, Ran, restoring
from tests.fix_lab import Database
from tests.scenarios.strangers.strange_cases import UNREADABLE


def journal_of(cli: Cli, case: str) -> Path:
    return cli.home / "cases" / case / "journal.jsonl"


def rechained(path: Path, edit: Callable[[list[dict[str, Any]]], None]) -> None:
    """Edit the records of a journal and make its chain anew, as anybody can who reads how it is made."""
    records = [json.loads(line) for line in path.read_text().splitlines()]
    edit(records)
    lines, previous = [], "0" * 64
    for record in records:
        line = json.dumps({**record, "prev": previous}) + "\n"
        previous = hashlib.sha256(line.encode()).hexdigest()
        lines.append(line)
    path.write_text("".join(lines))
    assert len(read_records(path.parent)) == len(records), "the forged chain is whole"


def notifies(records: list[dict[str, Any]]) -> None:
    records[0]["data"]["profile"]["notify"] = [{"command": ["sh", "-c", "touch PWNED"]}]


VERBS = [
    ("resume",),
    ("close",),
    ("apply", "12345678", "--confirm", "db"),
    ("diff", "--again"),
    ("verify",),
    ("undo", "--confirm", "db"),
    ("peek", "select 1"),
]


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_a_case_directory_from_elsewhere_is_only_looked_at(
    cli: Cli, database: Database, paused: str, verb: tuple[str, ...]
) -> None:
    """Its chain is whole and it names a program to notify, but this user's key did not sign it."""
    rechained(journal_of(cli, paused), notifies)
    before = database.rows("select count(*), sum(n) from t")
    ran = cli(verb[0], paused, *verb[1:])
    assert ran.code == UNREADABLE, ran.err
    fact = f"case '{paused}' can only be looked at: record 0 of its journal is not signed with a key of this user"
    assert f"error[plan-unreadable]: {fact}\n" in ran.err
    assert not Path("PWNED").exists()
    assert database.rows("select count(*), sum(n) from t") == before
    assert f"rowback-{paused}" in cli.live.lab.engine.instances, "nothing was deleted by it"
    for look in (("status", paused), ("report", paused), ("cases",)):
        assert cli(*look).code == 0
    listed = cli("cases")
    assert f"case {paused} is left out: case '{paused}' can only be looked at" in listed.err
    assert not listed.out, "not that there are none"
    assert f"rowback-{paused}: kept: case '{paused}' can only be looked at" in cli("reap").out


def test_a_case_of_ones_own_other_machine_is_taken_over_with_its_key(
    cli: Cli, database: Database, paused: str, tmp_path: Path
) -> None:
    """The help that is printed works: the other machine's key is added to one's own, and both verify."""
    other = tmp_path / "other"
    (other / "cases").mkdir(parents=True)
    shutil.copytree(cli.home / "cases" / paused, other / "cases" / paused)
    refused = cli("resume", paused, ROWBACK_HOME=str(other))
    assert refused.code == UNREADABLE
    key = other / "journal.key"
    assert f"add the line of its journal.key to {key}" in refused.err
    key.write_bytes(b"ab" * 32 + b"\n" + (cli.home / "journal.key").read_bytes())
    key.chmod(0o600)
    closed = cli("close", paused, ROWBACK_HOME=str(other))
    assert closed.code == 0, closed.err
    assert f"rowback-{paused}" not in cli.live.lab.engine.instances


UNUSABLE_KEYS = {
    "read by all": ("others may read or write it", "if nobody else did: chmod 600 {key}"),
    "another user's": (
        "it belongs to user 65534, and this is user 0",
        "run rowback as the user whose cases these are (with or without sudo, as before), or set ROWBACK_HOME to a"
        " directory of this user",
    ),
    "a link": ("it is a link", "put the file itself there: {key}"),
    "emptied": (
        "it does not hold one key of 64 hexadecimal digits a line",
        "bring it back from a backup; or move it away, and a new one is made, under which the cases so far can only be"
        " read",
    ),
}


def make_unusable(key: Path, how: str) -> None:
    match how:
        case "read by all":
            key.chmod(0o644)
        case "another user's":
            os.chown(key, 65534, -1)
        case "a link":
            key.rename(key.with_name("elsewhere"))
            key.symlink_to(key.with_name("elsewhere"))
        case _:
            key.write_bytes(b"")


def key_refused(ran: Ran, key: Path, how: str) -> None:
    why, help = UNUSABLE_KEYS[how]
    assert ran.code == 2, ran.err
    assert ran.err.endswith(
        f"error[config-invalid]: {key}, the key of this user's journals, cannot be used: {why}\n"
        f"  nothing was done\n  help: {help.format(key=key)}\n"
    )


@pytest.mark.parametrize("how", UNUSABLE_KEYS)
def test_a_key_that_cannot_be_relied_on_is_refused(cli: Cli, paused: str, how: str) -> None:
    key = cli.home / "journal.key"
    content = key.read_bytes()
    make_unusable(key, how)
    key_refused(cli("resume", paused), key, how)
    key.unlink()
    key.write_bytes(content)
    key.chmod(0o600)
    assert cli("close", paused).code == 0


@pytest.mark.parametrize("how", UNUSABLE_KEYS)
def test_with_such_a_key_no_case_is_begun(cli: Cli, database: Database, how: str) -> None:
    """Not even its directory, which would stand there as a case that cannot be read."""
    database.run("create table t (n int primary key)", "insert into t values (1)")
    moment = pass_a_second()
    database.run("delete from t")
    key = cli.home / "journal.key"
    key.parent.mkdir(exist_ok=True)
    key.write_bytes(b"ab" * 32 + b"\n")
    key.chmod(0o600)
    make_unusable(key, how)
    key_refused(cli(*restoring(cli, database, moment)), key, how)
    assert not list((cli.home / "cases").glob("*"))
    assert not [name for name in cli.live.lab.engine.instances if name.startswith("rowback-")]


def test_the_recorded_resource_id_cannot_be_replaced(cli: Cli, paused: str) -> None:
    """Another instance under the copy's name and with its tags was deleted by `close` once the journal named it."""
    lab = cli.live.lab
    copy = lab.engine.instances[f"rowback-{paused}"]
    foreign = copy.resource_id.replace(copy.resource_id[-4:], "ELSE")

    def edit(records: list[dict[str, Any]]) -> None:
        (done,) = [r for r in records if r["event"] == "step.done" and r["step"] == "start-copy"]
        done["data"]["resource_id"] = foreign

    copy.resource_id = foreign
    rechained(journal_of(cli, paused), edit)
    assert cli("close", paused).code == UNREADABLE
    assert f"rowback-{paused}" in lab.engine.instances


ODD: dict[str, Callable[[list[dict[str, Any]]], None]] = {
    "no outcome": lambda records: records.append(
        {**records[-1], "seq": len(records), "event": "case.closed", "step": None, "data": {}}
    ),
    "no error": lambda records: records.append(
        {**records[-1], "seq": len(records), "event": "step.failed", "step": "diff", "data": {}}
    ),
    "a list": lambda records: records.append(
        {**records[-1], "seq": len(records), "event": "step.done", "step": "diff", "data": {"repair": []}}
    ),
    "no plan": lambda records: records[0]["data"].pop("plan"),
    "another version": lambda records: records[0]["data"].update(schema_version=99),
}


@pytest.mark.parametrize("odd", ODD)
def test_one_odd_case_hides_no_other(cli: Cli, paused: str, odd: str) -> None:
    strange = cli.home / "cases" / "20200101-000000-abcd"
    shutil.copytree(cli.home / "cases" / paused, strange)
    rechained(strange / "journal.jsonl", ODD[odd])
    listed = cli("cases")
    assert listed.code == 0, listed.err
    assert paused in listed.out
    assert "case 20200101-000000-abcd is left out: " in listed.err
    assert [case["case"] for case in json.loads(cli("cases", "--json").out)] == [paused]
    for verb in ("status", "report"):
        looked = cli(verb, "20200101-000000-abcd")
        assert looked.code in (0, UNREADABLE), looked.err
        assert "Traceback" not in looked.err


def test_links_pipes_and_torn_files_in_the_place_of_journals(cli: Cli, paused: str, tmp_path: Path) -> None:
    """A link was followed and the file behind it emptied; a pipe would be waited for."""
    precious = tmp_path / "precious"
    precious.write_text("precious, no newline")
    cases = cli.home / "cases"
    for name in ("20200101-000000-aaaa", "20200101-000000-bbbb", "20200101-000000-cccc"):
        (cases / name).mkdir()
    (cases / "20200101-000000-aaaa" / "journal.jsonl").symlink_to(precious)
    os.mkfifo(cases / "20200101-000000-bbbb" / "journal.jsonl")
    (cases / "20200101-000000-cccc" / "journal.jsonl").write_text("no journal at all")
    for name in ("aaaa", "bbbb", "cccc"):
        for verb in ("close", "resume", "status"):
            ran = cli(verb, f"20200101-000000-{name}")
            assert ran.code in (18, UNREADABLE), ran.err
    assert precious.read_text() == "precious, no newline"
    assert (cases / "20200101-000000-cccc" / "journal.jsonl").read_text() == "no journal at all"
    assert paused in cli("cases").out
