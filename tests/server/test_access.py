"""Logging in to the original: libpq's own ways, Secrets Manager, IAM tokens; TLS away from loopback."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import boto3
import pytest

from recovery.aws.credentials import Login, from_iam, from_secret
from recovery.config import IamCredentials, LibpqCredentials, Profile, SecretCredentials
from recovery.errors import ErrorId, RowbackError
from recovery.model.instance import Endpoint
from recovery.planning.original_login import target_on_original
from recovery.postgres.client_programs import ClientTools, find_client_tools
from recovery.postgres.connect import connect, one
from recovery.postgres.connection_target import Target
from runbooks.lab.lab_server import REGION
from tests.fix_instances import instance
from tests.fix_lab import Database, Live


@pytest.fixture
def environment(live: Live, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    for name in [n for n in os.environ if n.startswith(("PG", "AWS_"))]:
        monkeypatch.delenv(name)
    for name, value in live.lab.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path))
    return monkeypatch


def facts(live: Live) -> Any:
    return instance(identifier=live.identifier, endpoint=Endpoint(host="127.0.0.1", port=live.port))


def test_libpq_finds_the_password_in_pgpass(
    live: Live, database: Database, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    passfile = tmp_path / ".pgpass"
    passfile.write_text(f"127.0.0.1:{live.port}:*:postgres:{live.password}\n")
    passfile.chmod(0o600)
    environment.setenv("PGPASSFILE", str(passfile))
    with connect(target_on_original(facts(live), database.name, Profile())) as session:
        assert one(session, "select current_user") == "postgres"


def test_libpq_finds_the_password_in_a_service(
    live: Live, database: Database, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    services = tmp_path / "services"
    services.write_text(f"[staging]\npassword={live.password}\nhost=192.0.2.1\nport=1\n")
    environment.setenv("PGSERVICEFILE", str(services))
    profile = Profile(credentials=LibpqCredentials(service="staging"))
    with connect(target_on_original(facts(live), database.name, profile)) as session:
        assert one(session, "select current_database()") == database.name


def test_a_secret_of_secrets_manager(live: Live, database: Database, environment: pytest.MonkeyPatch) -> None:
    client = boto3.client("secretsmanager", region_name=REGION)
    body = json.dumps({"username": "postgres", "password": live.password})
    good = client.create_secret(Name=f"good-{database.name}", SecretString=body)["ARN"]
    profile = Profile(credentials=SecretCredentials(source="secretsmanager", arn=good), region=REGION)
    with connect(target_on_original(facts(live), database.name, profile)) as session:
        assert one(session, "select 1") == 1
    bad = client.create_secret(Name=f"bad-{database.name}", SecretString="hunter2-not-json")["ARN"]
    with pytest.raises(RowbackError) as refused:
        from_secret(bad, region=REGION)
    assert refused.value.fact == f"secret '{bad}' is not JSON with username and password"
    assert "hunter2" not in str(refused.value) + repr(refused.value.__cause__) + repr(refused.value.__context__)
    with pytest.raises(RowbackError) as missing:
        from_secret("no-such-secret", region=REGION)
    assert missing.value.exit_code == 36


def test_an_iam_token_is_signed_locally(live: Live, environment: pytest.MonkeyPatch) -> None:
    login = from_iam(host="db.example.com", port=5432, user="rowback", region=REGION)
    assert login.user == "rowback"
    assert login.password is not None
    assert login.password.startswith("db.example.com:5432/?Action=connect&DBUser=rowback&X-Amz-Algorithm=")
    target = target_on_original(
        facts(live), "d", Profile(credentials=IamCredentials(source="iam", user="u"), region=REGION)
    )
    assert (target.user, target.password is not None) == ("u", True)


def test_passwords_do_not_print(live: Live) -> None:
    assert live.password not in repr(live.target())
    assert "hunter2" not in repr(Login("u", "hunter2"))


def test_away_from_loopback_the_server_must_prove_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGSSLROOTCERT", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    far = Target("x", Endpoint(host="docs.abc.eu-west-1.rds.amazonaws.com", port=5432), "d", "u")
    with pytest.raises(RowbackError) as refused:
        far.parameters()
    assert refused.value.fact == (
        "the CA bundle to verify 'docs.abc.eu-west-1.rds.amazonaws.com' with is missing: "
        f"{tmp_path}/.postgresql/root.crt"
    )
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("x")
    monkeypatch.setenv("PGSSLROOTCERT", str(bundle))
    found = far.parameters()
    assert (found["sslmode"], found["sslrootcert"]) == ("verify-full", str(bundle))
    near = Target("x", Endpoint(host="127.0.0.1", port=5432), "d", "u")
    assert near.parameters()["sslmode"] == "prefer"


def test_verify_full_is_real(live: Live, database: Database, tmp_path: Path) -> None:
    def target(bundle: Path, host: str = "127.0.0.1") -> Target:
        return Target(
            "x",
            Endpoint(host=host, port=live.port),
            database.name,
            live.user,
            live.password,
            ca_bundle=bundle,
            sslmode="verify-full",
        )

    with connect(target(live.lab.ca_bundle)) as session:
        assert one(session, "select ssl from pg_stat_ssl where pid = pg_backend_pid()") is True
    from runbooks.lab.tls import create_authority

    foreign = tmp_path / "foreign.pem"
    foreign.write_text(create_authority().bundle)
    with pytest.raises(RowbackError) as refused, connect(target(foreign)):
        pass
    assert refused.value.exit_code == 30
    assert "SSL error" in str(refused.value)
    assert f"help: check ca_bundle: it must hold the CA that signed the server's certificate (now: {foreign})" in str(
        refused.value
    )


def test_client_tools_without_tls_are_passed_over_when_the_server_demands_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for tool in ("pg_dump", "pg_restore"):
        (tmp_path / tool).write_text(
            '#!/bin/sh\n[ "$1" = --version ] && echo "pg_dump (PostgreSQL) 17.4" && exit\n'
            "echo 'sslmode value \"require\" invalid when SSL support is not compiled in' >&2; exit 1\n"
        )
        (tmp_path / tool).chmod(0o755)
    monkeypatch.setenv("ROWBACK_PG_BIN", str(tmp_path))
    assert find_client_tools(server_major=17, tls=False) == ClientTools(tmp_path, "17.4")
    with pytest.raises(RowbackError) as refused:
        find_client_tools(server_major=17, tls=True)
    assert refused.value.facts == (f"{tmp_path}: 17.4 has no TLS, which the server's address demands",)
    monkeypatch.delenv("ROWBACK_PG_BIN")
    assert find_client_tools(server_major=15, tls=True).has_tls()


def test_errors_in_the_middle_are_told_in_our_words(live: Live, database: Database) -> None:
    with live.connect() as other, pytest.raises(RowbackError) as cut, connect(database.target(), state="s") as session:
        other.execute("select pg_terminate_backend(%s)", (session.info.backend_pid,))
        session.execute("select 1")
    assert cut.value.exit_code == 51
    assert cut.value.fact.startswith(
        f"instance '{live.identifier}', database '{database.name}': terminating connection"
    )
    with pytest.raises(RowbackError) as denied, connect(database.target()) as session:
        session.execute("select pg_read_file('/etc/passwd')")
    assert denied.value.exit_code == 27


def test_too_many_locks_are_told_as_such(database: Database) -> None:
    """It is no server that is down."""
    raised = (
        "do $$ begin raise exception 'out of shared memory' using errcode = '53200',"
        " hint = 'You might need to increase \"max_locks_per_transaction\".'; end $$"
    )
    with pytest.raises(RowbackError) as refused, connect(database.target(), state="nothing was written") as session:
        session.execute(raised)
    assert refused.value.id is ErrorId.LOAD_REFUSED
    assert refused.value.help == (
        "so many tables take more locks than the server has room for: repair them in parts (--table), or raise"
        " max_locks_per_transaction in the parameter group, which takes a reboot"
    )
