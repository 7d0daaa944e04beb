"""What is known without the database: certificates before any password, containers of this kernel, neighbours."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from guards.certificate import certificate_names, certified
from guards.container_bridge import next_door
from guards.drivers.open_connection import wire_of
from guards.policy import Policy
from guards.same_kernel import runs_here
from guards.server_location import gather
from guards.verdict import judge
from runbooks.lab.lab_server import Lab
from tests.fix_cli import Cli
from tests.fix_lab import wait_until
from tests.fix_plain import Plain, answers
from tests.guards.forwarder import forwarded, free_port
from tests.guards.inner import script

OF_RDS = "docs-staging.c9akciq32.eu-west-1.rds.amazonaws.com"


@pytest.fixture
def of_rds(plain: Plain, lab: Lab) -> Iterator[Plain]:
    """The plain cluster with the certificate that RDS would show."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "staging")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(OF_RDS)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    for path, content in (
        ("server.crt", signed.public_bytes(serialization.Encoding.PEM)),
        (
            "server.key",
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        ),
    ):
        (plain.log.parent / "data" / path).write_bytes(content)
        (plain.log.parent / "data" / path).chmod(0o600)
        lab.engine.tools.own(plain.log.parent / "data" / path)
    encrypted(plain, "on")
    yield plain
    encrypted(plain, "off")


def encrypted(plain: Plain, state: str) -> None:
    with psycopg.connect(plain.dsn(), autocommit=True) as server:
        server.execute(f"alter system set ssl = {state}")
        server.execute("select pg_reload_conf()")
    certificate_names.cache_clear()

    def so() -> bool:
        with psycopg.connect(plain.dsn()) as fresh:
            return fresh.execute("show ssl").fetchone() == (state,)

    wait_until(so, f"ssl is {state}")


def test_a_certificate_is_read_before_any_password(of_rds: Plain) -> None:
    with forwarded(("127.0.0.1", of_rds.port)) as tunnel:
        assert certificate_names("127.0.0.1", tunnel) == (OF_RDS,)
        assert certified("127.0.0.1", tunnel) == f"{OF_RDS} (Amazon RDS)"
    assert certified(str(of_rds.socket), of_rds.port) is None, "a unix socket speaks no TLS"


def test_nothing_that_answers_otherwise_tells_anything(plain: Plain) -> None:
    assert certificate_names("127.0.0.1", plain.port) == (), "it answers N"
    assert certificate_names("127.0.0.1", 1) == ()
    assert certificate_names("no-such-host.invalid", 5432) == ()


def test_a_certificate_is_a_veto_even_where_all_else_is_proven(of_rds: Plain, cli: Cli) -> None:
    refused = cli("guard", "check", "--dsn", of_rds.dsn())
    assert refused.code == 21
    assert f"  its certificate names {OF_RDS} (Amazon RDS)" in refused.err.splitlines()
    stranger = cli("guard", "check", "--dsn", of_rds.dsn().replace("user=app", "user=nobody_here"))
    assert stranger.code == 30
    assert stranger.err.splitlines()[-3:] == [
        f"  its certificate names {OF_RDS} (Amazon RDS)",
        "  nothing was done",
        "  help: check --dsn, or PGHOST, PGPORT, PGUSER, PGDATABASE and PGPASSWORD",
    ]


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "asyncpg"])
def test_every_driver_looks_at_it(of_rds: Plain, tmp_path: Path, driver: str) -> None:
    acts = {
        "psycopg": "psycopg.connect(DSN).execute(BAD)",
        "psycopg2": "psycopg2.connect(DSN).cursor().execute(BAD)",
        "asyncpg": "asyncio.run(through())",
    }
    name = f"cert_{driver}"
    of_rds.make(name, "create table parent (id int)")
    url = f"postgresql://app@127.0.0.1:{of_rds.port}/{name}"
    found = script(
        tmp_path,
        f"import asyncio, os, {driver}\nfrom guards.guard_session import Refused\n"
        "DSN, BAD = os.environ['TEST_DSN'], 'drop table parent'\n"
        "async def through():\n    await (await asyncpg.connect(DSN)).execute(BAD)\n"
        f"try:\n    {acts[driver]}\nexcept Refused as refused:\n    print(str(refused))\n",
        url,
    )
    assert f"  its certificate names {OF_RDS} (Amazon RDS)" in found.out.splitlines()


@pytest.fixture
def contained(lab: Lab) -> Iterator[str]:
    """A PostgreSQL in a pid namespace of its own, as in a container: it knows its processes by other numbers."""
    tools = lab.engine.tools
    if os.geteuid() != 0 or not shutil.which("setpriv") or tools.account is None:
        pytest.skip("only root makes namespaces here")
    if subprocess.run(["unshare", "--pid", "--fork", "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine allows no pid namespaces")
    root, port, account = lab.root / "contained", free_port(), tools.account
    tools.give(root)
    tools.run("initdb", "-D", root / "data", "-U", "app", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C")
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                "unshare",
                "--pid",
                "--fork",
                "setpriv",
                f"--reuid={account.uid}",
                f"--regid={account.gid}",
                "--clear-groups",
                str(tools.bin / "postgres"),
                "-D",
                str(root / "data"),
                "-p",
                str(port),
                "-k",
                "",
                "-c",
                "listen_addresses=127.0.0.1",
            ],
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    dsn = f"host=127.0.0.1 port={port} user=app dbname=postgres"

    try:
        wait_until(lambda: answers(dsn), "the contained cluster answers")
        yield dsn
    finally:
        (inside,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(inside), signal.SIGQUIT)
        process.wait()
        shutil.rmtree(root)


def test_a_container_of_this_kernel_is_proven_by_its_namespace(contained: str) -> None:
    with psycopg.connect(contained) as connection:
        ((inside,),) = connection.execute("select pg_backend_pid()")
        evidence = gather(wire_of(connection))
        assert not evidence.pooled
        assert evidence.on_this_kernel is not None
        ours = connection.pgconn.socket, connection.info.backend_pid
        assert re.fullmatch(r"it sees our port \d+ on the loopback that we share", evidence.on_this_kernel)
        # where another network lies between, its process tells: found in a pid namespace of its own
        outside = int(str(runs_here(*ours)).split()[1])
        assert outside != inside
        assert f"NSpid:\t{outside}\t{inside}" in Path(f"/proc/{outside}/status").read_text()
    assert judge(evidence, Policy("ci", evidence.born_at), datetime.now(UTC)).disposable, "a service container in CI"
    port = dict(part.split("=") for part in contained.split())["port"]
    with (
        forwarded(("127.0.0.1", int(port))) as tunnel,
        psycopg.connect(contained.replace(f"port={port}", f"port={tunnel}")) as connection,
    ):
        # as through Docker's proxy, in front of a published port: the container itself names whom it serves
        here = str(gather(wire_of(connection)).on_this_kernel)
        assert re.fullmatch(r"backend \d+, in a container on this machine, serves 127\.0\.0\.1\(\d+\)", here)


def test_next_door_is_what_a_bridge_or_a_virtual_cable_leads_to() -> None:
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("needs root and iproute2")
    name = f"rowback-{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], check=False, capture_output=True).returncode:
        pytest.skip("this machine allows no network namespaces")
    try:
        for command in (
            "link add cable type veth peer name other",
            "link add hub type bridge",
            "link add lan type bridge",
            "tuntap add dev wire mode tap",
            "link set wire master lan",
            "link add leg type veth peer name legs",
            "link set leg master lan",
            "link add port type veth peer name ports",
            "link set port master hub",
            "tuntap add dev tunnel mode tap",
            "link add far type vxlan id 7 dstport 4789",
            "addr add 10.99.1.1/24 dev cable",
            "addr add 10.99.2.1/24 dev hub",
            "addr add 10.99.3.1/24 dev lan",
            "addr add 10.99.5.1/24 dev tunnel",
            "addr add 10.99.6.1/24 dev far",
            *(
                f"link set {device} up"
                for device in ("cable", "other", "hub", "lan", "wire", "leg", "legs", "port", "ports", "tunnel", "far")
            ),
            "neigh add 10.99.1.7 lladdr 00:1b:21:00:00:01 dev cable",
            "route add 10.99.4.0/24 via 10.99.1.9",
        ):
            subprocess.run(["ip", "-n", name, *command.split()], check=True, capture_output=True)
        asked = [
            "10.99.1.2",
            "10.99.2.77",  # over a cable, and on a bridge of cables alone
            "10.99.1.7",
            "10.99.1.9",  # a real device behind the other end's bridge; the gateway, which forwards
            "10.99.3.5",
            "10.99.5.5",
            "10.99.6.5",  # a bridge with another leg, a tunnel, a network over networks
            "10.99.4.2",
            "8.8.8.8",
            "nonsense",
            "::1",
        ]
        code = "import json; from guards.container_bridge import next_door\n"
        code += f"print(json.dumps([next_door(a) for a in {asked}]))"
        told = subprocess.run(
            ["ip", "netns", "exec", name, sys.executable, "-c", code], check=True, capture_output=True, text=True
        )
        assert json.loads(told.stdout) == ["cable", "hub", *[None] * 9]
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)
    assert next_door("127.0.0.1") is None
