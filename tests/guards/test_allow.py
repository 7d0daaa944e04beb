"""The escape hatch: one database, a reason, a while; printed in every run, and a policy file may forbid it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.fix_cli import Cli
from tests.fix_lab import Database
from tests.guards.fix_suite import SUITE, furnish, rows
from tests.guards.inner import pytest_on


def target_of(database: Database) -> str:
    ((found,),) = database.rows(
        "select system_identifier || '/' || (select oid from pg_database where datname = current_database())"
        " || '/' || extract(epoch from pg_postmaster_start_time()) from pg_control_system()"
    )
    return str(found)


def test_it_opens_one_database_for_a_while_and_says_so(cli: Cli, database: Database, tmp_path: Path) -> None:
    furnish(database)
    dsn, home = database.live.dsn(database.name), str(cli.home)
    target = target_of(database)
    refused = pytest_on(tmp_path, SUITE, dsn, "-k", "test_one", ROWBACK_HOME=home)
    assert f"rowback guard allow --target {target} --reason … --for 30m" in refused.out
    allowed = cli("guard", "allow", "--target", target, "--reason", "reset by hand", "--for", "30m")
    assert allowed.code == 0, allowed.err
    assert allowed.out.startswith(f"{target} is allowed by ")
    passed = pytest_on(tmp_path, SUITE, dsn, "-v", "-k", "test_one", ROWBACK_HOME=home)
    assert (passed.code, rows(database)) == (0, (0, 0)), passed.out
    assert f"  {target} is allowed by " in passed.out, "printed in every run"
    assert passed.out.count("reset by hand") == 1
    assert cli("guard", "check", "--dsn", dsn).code == 0
    assert cli("guard", "disallow", "--target", target).out == f"{target} is allowed no more\n"
    assert cli("guard", "check", "--dsn", dsn).code == 21
    again = cli("guard", "disallow", "--target", target)
    assert (again.code, again.err.splitlines()[-3:]) == (
        2,
        [f"error[usage]: there is no allowance for {target}", "  nothing was done", "  help: there are: none"],
    )


def test_it_is_for_that_database_alone(cli: Cli, database: Database) -> None:
    other, oid, started = target_of(database).split("/")
    # the last one is a physical copy, which shares all but its start
    for target in (f"{other}/{int(oid) + 1}/{started}", f"1{other[1:]}/{oid}/{started}", f"{other}/{oid}/1.5"):
        assert cli("guard", "allow", "--target", target, "--reason", "x").code == 0
    assert cli("guard", "check", "--dsn", database.live.dsn(database.name)).code == 21


def test_a_protection_outranks_it(cli: Cli, database: Database) -> None:
    dsn = database.live.dsn(database.name)
    cli("guard", "mark", "--dsn", dsn, "--protected", "--reason", "the only copy", "--confirm", database.name)
    cli("guard", "allow", "--target", target_of(database), "--reason", "x")
    assert cli("guard", "check", "--dsn", dsn).code == 21


@pytest.mark.parametrize("where", ["here", "above"])
def test_a_policy_file_forbids_it(
    cli: Cli, database: Database, tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    furnish(database)
    target, dsn = target_of(database), database.live.dsn(database.name)
    cli("guard", "allow", "--target", target, "--reason", "before the policy")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path if where == "here" else tmp_path / "below")
    (tmp_path / "rowback.toml").write_text('[guard]\nallow = "forbidden"\n')
    assert cli("guard", "check", "--dsn", dsn).code == 21
    refused = cli("guard", "allow", "--target", target, "--reason", "x")
    assert (refused.code, refused.err) == (
        28,
        f"error[allow-forbidden]: {tmp_path / 'rowback.toml'} forbids allowances here\n  nothing was allowed\n"
        "  help: ask the database's owner for a mark: rowback guard mark --dsn … --reason …\n",
    )
    inner = pytest_on(tmp_path, SUITE, dsn, "-k", "test_one", ROWBACK_HOME=str(cli.home))
    assert (inner.code, rows(database)) == (1, (3, 1))
    assert "guard allow" not in inner.out, "what is forbidden is not recommended"


def test_what_a_policy_cannot_say(cli: Cli, database: Database, tmp_path: Path) -> None:
    for text, told in (
        ("[guard]\nallow = false\n", "[guard] allow = False says nothing that is known here"),
        ("[guard]\nstrictnes = 'ci'\n", "[guard] strictnes = 'ci' says nothing that is known here"),
        ("[guard\n", "cannot be read: "),
        ("guard = 3\n", "[guard] guard = 3 says nothing that is known here"),
    ):
        (tmp_path / "rowback.toml").write_text(text)
        refused = cli("guard", "check", "--dsn", database.live.dsn(database.name))
        assert refused.code == 2
        assert refused.err.startswith(f"error[policy-invalid]: {tmp_path / 'rowback.toml'}: {told}")
        inner = pytest_on(tmp_path, "def test(): pass", "")
        assert inner.code == 4, "a run whose policy nobody can read does not begin"
        assert "error[policy-invalid]" in inner.out


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        (("--target", "docs-staging", "--reason", "x"), "'docs-staging' names no database"),
        (("--target", "1/2/3.4", "--reason", "x", "--for", "2d"), "an allowance has a reason and lasts a day at most"),
        (("--target", "1/2/3.4", "--reason", " "), "an allowance has a reason and lasts a day at most"),
    ],
)
def test_mistakes(cli: Cli, arguments: tuple[str, ...], fact: str) -> None:
    refused = cli("guard", "allow", *arguments)
    assert (refused.code, refused.err.splitlines()[0]) == (2, f"error[usage]: {fact}")


def test_files_that_are_not_wholly_ours_allow_nothing(cli: Cli, database: Database) -> None:
    dsn, target = database.live.dsn(database.name), target_of(database)
    system, oid, started = target.split("/")
    home = cli.home / "guard"
    home.mkdir(parents=True)
    path = home / "any.json"
    soon = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    sound = {
        "system_identifier": system,
        "database_oid": int(oid),
        "started": started,
        "by": "x",
        "reason": "x",
        "until": soon,
    }

    def check(mode: int = 0o600, **changed: object) -> int:
        path.write_text(json.dumps({**sound, **changed}))
        path.chmod(mode)
        return cli("guard", "check", "--dsn", dsn).code

    assert check() == 0
    assert check(0o666) == 21, "anybody could have written it"
    assert check(until="2020-01-01T00:00:00+00:00") == 21
    assert check(until=(datetime.now(UTC) + timedelta(days=3)).isoformat()) == 21, "longer than a day"
    assert check(until=soon[:19]) == 21, "without a zone"
    assert check(more=1) == 21
    path.write_text("{")
    assert cli("guard", "check", "--dsn", dsn).code == 21
