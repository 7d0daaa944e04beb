"""What real servers say: the lab's RDS, directly and through forwarders, and a plain cluster of this machine."""

from __future__ import annotations

import json
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

import guards
from guards.drivers.open_connection import wire_of
from guards.managed_service_signs import ROLES
from guards.policy import Policy
from guards.server_evidence import Evidence
from guards.server_identity import identify
from guards.server_location import gather
from guards.verdict import judge
from tests.fix_cli import Cli, Ran
from tests.fix_lab import Database, Live, wait_until
from tests.fix_plain import Plain
from tests.guards.forwarder import forwarded
from tests.guards.inner import script


def asked(dsn: str) -> Evidence:
    with psycopg.connect(dsn, autocommit=True) as connection:
        return gather(wire_of(connection))


def test_a_plain_young_cluster_of_this_machine_proves_itself(plain: Plain) -> None:
    found = asked(plain.dsn())
    assert found.on_this_kernel is not None
    assert "serves our port" in found.on_this_kernel
    assert timedelta(0) <= datetime.now(UTC) - found.born_at < timedelta(minutes=30)
    assert (found.managed, found.archiving, found.replicas, found.standby, found.fsync_off) == (
        (),
        False,
        0,
        False,
        True,
    )
    assert judge(found, Policy(), datetime.now(UTC)).disposable
    assert judge(found, Policy("ci", found.born_at), datetime.now(UTC)).disposable


def test_through_a_unix_socket_the_listener_must_be_the_parent(plain: Plain, tmp_path: Path) -> None:
    found = asked(plain.dsn(host=str(plain.socket)))
    assert found.on_this_kernel is not None
    assert "which listens on our socket" in found.on_this_kernel
    assert found.server == "a unix socket"
    with forwarded(("127.0.0.1", plain.port), path=Path(f"/tmp/.s.PGSQL.{plain.port}")):  # noqa: S108
        try:
            assert asked(plain.dsn(host="/tmp")).on_this_kernel is None  # noqa: S108
        finally:
            Path(f"/tmp/.s.PGSQL.{plain.port}").unlink()  # noqa: S108


def test_a_tunnel_on_localhost_is_not_here(plain: Plain) -> None:
    with forwarded(("127.0.0.1", plain.port)) as port:
        found = asked(plain.dsn(port=port))
        assert found.on_this_kernel is None
        assert found.identity == asked(plain.dsn()).identity
        verdict = judge(found, Policy(), datetime.now(UTC))
        assert verdict.missing == (
            "no proof that it runs on this machine: no backend here serves our connection",
            "no mark of its owner",
        )


def test_rds_is_known_by_what_it_is_however_it_is_reached(live: Live, database: Database) -> None:
    target = database.target()
    port = int(target.endpoint.port)
    with forwarded(("127.0.0.1", port)) as tunnel:
        for dsn in (
            live.dsn(database.name),
            live.dsn(database.name).replace(f"port={port}", f"port={tunnel}"),
            live.dsn(database.name).replace("host=127.0.0.1", "host=test-database.invalid hostaddr=127.0.0.1"),
            live.dsn(database.name).replace("host=127.0.0.1", "host=localhost"),
        ):
            found = asked(dsn)
            assert found.managed == ("Amazon RDS",)
            verdict = judge(found, Policy("ci", datetime(2020, 1, 1, tzinfo=UTC)), datetime.now(UTC))
            assert not verdict.disposable
            assert "it is managed: Amazon RDS" in verdict.vetoes


@pytest.mark.parametrize(
    ("statement", "service"),
    [
        *[(f'create role "{role}"', service) for role, service in ROLES.items()],
        ("create schema heroku_ext", "Heroku"),
        ("set neon.tenant_id = 'x'", "Neon"),
        ("set azure.extensions = 'x'", "Azure Database"),
        ("set supautils.reserved_roles = 'x'", "Supabase"),
    ],
)
def test_each_service_is_known_by_what_only_it_has(plain: Plain, statement: str, service: str) -> None:
    with psycopg.connect(plain.dsn()) as server:
        server.execute(statement)  # in this transaction alone
        assert gather(wire_of(server)).managed == (service,)
        server.rollback()


def guard(cli: Cli, verb: str, dsn: str, *extra: str) -> Ran:
    return cli("guard", verb, "--dsn", dsn, *extra)


def test_a_mark_is_bound_to_its_database(cli: Cli, database: Database) -> None:
    dsn = database.live.dsn(database.name)
    database.run(f"comment on database {database.name} is 'the app''s own words'")
    refused = guard(cli, "check", dsn)
    named = f"'{database.name}' on 127.0.0.1:{database.live.port}"
    assert refused.code == 21
    assert refused.err.splitlines()[0] == f"refused[not-disposable]: {named} is not proven disposable"
    assert refused.err.splitlines()[1] == "  it is managed: Amazon RDS"
    assert refused.err.splitlines()[-2:] == [
        "  nothing was sent to it but one question",
        "  help: use a throw-away database. If this one may be destroyed, its owner says so: rowback guard mark --dsn"
        f" 'host=127.0.0.1 port={database.live.port} dbname={database.name} user=postgres' --reason …"
        f" --confirm '{database.name}'",
    ]
    wrong = guard(cli, "mark", dsn, "--reason", "x", "--confirm", "another")
    assert (wrong.code, wrong.err.splitlines()[-3]) == (
        2,
        f"error[usage]: the database is '{database.name}', not 'another'",
    )
    marked = guard(cli, "mark", dsn, "--reason", "rebuilt nightly", "--for", "30m", "--confirm", database.name)
    assert marked.code == 0, marked.err
    assert "this mark will outrank: it is managed: Amazon RDS" in marked.err
    assert marked.out.startswith(f"{named}: marked disposable until ")
    assert guard(cli, "check", dsn).code == 0
    shown = json.loads(guard(cli, "show", dsn, "--json").out)
    assert (shown["disposable"], shown["evidence"]["comment_marker"]["reason"]) == (True, "rebuilt nightly")
    clone = f"{database.name}_clone"
    with database.live.connect() as server:
        ((comment,),) = server.execute(
            "select shobj_description(oid, 'pg_database') from pg_database where datname = %s", (database.name,)
        )
        server.execute(f"create database {clone} template {database.name}")
        # what pg_dump -C carries along: the comment of another database
        server.execute(
            psycopg.sql.SQL("comment on database {} is {}").format(
                psycopg.sql.Identifier(clone), psycopg.sql.Literal(comment)
            )
        )
    try:
        copied = guard(cli, "check", database.live.dsn(clone))
        assert copied.code == 21
        assert "  its mark was made for another database: this is a copy" in copied.err.splitlines()
    finally:
        with database.live.connect() as server:
            server.execute(f"drop database {clone}")
    assert guard(cli, "unmark", dsn).out == f"{named}: no mark any more\n"
    assert guard(cli, "check", dsn).code == 21
    with database.live.connect() as server:
        row = server.execute(
            "select shobj_description(oid, 'pg_database') from pg_database where datname = %s", (database.name,)
        ).fetchone()
    assert row == ("the app's own words",)
    assert guard(cli, "unmark", dsn).code == 27


def test_protected_is_never_disposable(cli: Cli, plain: Plain) -> None:
    with psycopg.connect(plain.dsn(), autocommit=True) as server:
        server.execute("create database precious")
    dsn = plain.dsn("precious")
    assert guard(cli, "check", dsn).code == 0
    marked = guard(cli, "mark", dsn, "--protected", "--reason", "the only copy", "--confirm", "precious")
    assert marked.out == f"'precious' on 127.0.0.1:{plain.port}: marked protected\n"
    refused = guard(cli, "check", dsn)
    assert refused.code == 21
    assert "marked protected by " in refused.err
    way = f"host=127.0.0.1 port={plain.port} dbname=precious user=app"
    assert refused.err.splitlines()[-1] == (
        "  help: use a throw-away database. It is protected. If that is over, its owner takes the protection off and"
        f" marks it: rowback guard unmark --dsn '{way}' --reason … --confirm 'precious'; rowback guard mark"
        f" --dsn '{way}' --reason … --confirm 'precious'"
    )
    over = guard(cli, "mark", dsn, "--reason", "x", "--confirm", "precious")
    assert (over.code, over.err.splitlines()[-1]) == (
        27,
        refused.err.splitlines()[-1].replace("use a throw-away database. ", ""),
    )
    for missing, told in (
        (("--confirm", "precious"), "say why that is over"),
        (("--reason", "sold"), "nobody is here to type the name of 'precious'"),
        (("--reason", "sold", "--confirm", "other"), "the database is 'precious', not 'other'"),
    ):
        tried = guard(cli, "unmark", dsn, *missing)
        assert (tried.code, told in tried.err) == (2, True), tried.err
    assert guard(cli, "check", dsn).code == 21
    assert guard(cli, "unmark", dsn, "--reason", "sold", "--confirm", "precious").code == 0
    assert guard(cli, "check", dsn).code == 0
    marked = guard(cli, "mark", dsn, "--reason", "scratch now", "--confirm", "precious")
    assert marked.out.endswith(
        "; for this user on this machine also when it is made anew under this name (--once: not)\n"
    )
    assert guard(cli, "unmark", dsn).code == 0
    shown = guard(cli, "show", dsn).out
    trace = r"  trace    the protection by \S+ as app \(the only copy\) was taken off at \S+ by \S+ as app: sold\n"
    assert re.search(trace, shown), "it outlives a mark"
    with psycopg.connect(plain.dsn(), autocommit=True) as server:
        server.execute("drop database precious")


def test_only_the_owner_marks(cli: Cli, database: Database) -> None:
    name = f"guest_{database.name}"
    database.run(f"create role {name} login password 'x'", f"grant connect on database {database.name} to {name}")
    dsn = f"host=127.0.0.1 port={database.live.port} user={name} password=x dbname={database.name}"
    refused = guard(cli, "mark", dsn, "--reason", "mine", "--confirm", database.name)
    assert refused.code == 27
    assert refused.err.splitlines()[-3:] == [
        f"error[mark-refused]: '{database.name}' on 127.0.0.1:{database.live.port}: must be owner of database"
        f" {database.name}",
        "  nothing was done",
        f"  help: only its owner may mark it; you are '{name}'",
    ]
    database.run(f"revoke connect on database {database.name} from {name}", f"drop role {name}")


def test_a_server_that_does_not_answer(cli: Cli) -> None:
    refused = guard(cli, "show", "host=127.0.0.1 port=1 dbname=x")
    assert refused.code == 30
    assert refused.err.startswith("error[server-unreachable]: ")
    bad = guard(cli, "mark", "dbname=x", "--reason", "x", "--for", "3 weeks")
    assert bad.code == 2


def test_two_sessions_of_one_server_have_one_identity(plain: Plain) -> None:
    with psycopg.connect(plain.dsn()) as one, psycopg.connect(plain.dsn(host=str(plain.socket))) as other:
        assert identify(one) == identify(other)


def test_the_question_changes_nothing_and_needs_no_privilege(plain: Plain) -> None:
    with psycopg.connect(plain.dsn(), autocommit=True) as server:
        server.execute("create role nobody_special login")
        server.execute("set default_transaction_read_only = on")
    with psycopg.connect(plain.dsn().replace("user=app", "user=nobody_special")) as guest:
        guest.execute("set transaction read only")
        assert gather(wire_of(guest)).role == "nobody_special"


def test_guards_come_without_the_rest() -> None:
    """Importing the guards loads neither recovery nor boto3 nor a driver."""
    script = (
        "import sys, guards.server_evidence, guards.verdict, guards.database_mark, guards.statements\n"
        "bad = [m for m in sys.modules if m.split('.')[0] in ('recovery', 'boto3', 'psycopg', 'pydantic', 'click')]\n"
        "assert not bad, bad"
    )
    import sys

    subprocess.run([sys.executable, "-c", script], check=True)


def test_sessions_that_an_ordinary_role_cannot_look_at_count(plain: Plain) -> None:
    with psycopg.connect(plain.dsn(), autocommit=True) as server:
        server.execute("create database shared")
        server.execute("create role lodger login")
        server.execute("create role other login")
    theirs = plain.dsn("shared").replace("user=app", "user=other")
    with psycopg.connect(theirs), psycopg.connect(plain.dsn("shared").replace("user=app", "user=lodger")) as ours:
        assert gather(wire_of(ours)).foreign_sessions == 1
    with psycopg.connect(plain.dsn("shared").replace("user=app", "user=lodger"), autocommit=True) as ours:
        wait_until(lambda: gather(wire_of(ours)).foreign_sessions == 0, "the other session is gone")


def test_a_mark_that_cannot_be_read_is_a_veto(cli: Cli, plain: Plain) -> None:
    with psycopg.connect(plain.dsn(), autocommit=True) as server:
        server.execute("create database later")
        server.execute("""comment on database later is '{"rowback_guard": {"state": "protected", "version": 2}}'""")
    refused = guard(cli, "check", plain.dsn("later"))
    assert refused.code == 21
    assert "  it bears a mark that this version of rowback cannot read" in refused.err.splitlines()


def test_what_the_page_says_of_python_is_so(plain: Plain, tmp_path: Path) -> None:
    """docs/guards.md, "From Python", as it stands there; and every public name is in it."""
    page = (Path(__file__).parents[2] / "docs" / "guards.md").read_text()
    (code,) = re.findall(r"<!-- api -->\n```python\n(.*?)```\n<!-- /api -->", page, re.DOTALL)
    assert all(f"guards.{name}" in page for name in guards.__all__)
    found = script(
        tmp_path,
        "import os, psycopg\nfrom guards.statements import Danger\n"
        "connection = psycopg.connect(os.environ['TEST_DSN'], autocommit=True)\n"
        f"{code}\n"
        "assert guards.identify(connection).database == 'documented'\n"
        "assert guards.classify('truncate orders').danger is Danger.DESTRUCTIVE\n"
        "assert guards.classify('delete from orders where id = ?', 'jdbc').danger is Danger.WRITE\n"
        "assert issubclass(guards.Refused, BaseException) and not issubclass(guards.Refused, Exception)\n"
        "assert issubclass(guards.GuardError, Exception)\n",
        plain.make("documented"),
    )
    assert (found.code, found.out) == (0, "")
    refused = script(
        tmp_path,
        "import os, psycopg\nguards.assert_disposable(psycopg.connect(os.environ['TEST_DSN']), 'ci')\n",
        plain.dsn("documented"),
        CI_JOB_STARTED_AT="2099-01-01T00:00:00Z",
    )
    assert refused.code == 0, "it runs without fsync, and here"
