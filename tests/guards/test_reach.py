"""What a proven or marked database opens: itself. Another database of its server is judged by its own mark, whatever
driver sends the statement, and the server's own log tells what reached it."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from guards.cross_database_reach import may_reach, may_reach_bytes
from guards.statements import classify
from tests.fix_cli import Cli
from tests.fix_plain import Plain
from tests.guards.fix_reach import SEND, databases, mark, sent


@pytest.mark.parametrize("driver", SEND)
def test_a_marked_database_opens_no_other(old: Plain, siblings: dict[str, str], tmp_path: Path, driver: str) -> None:
    test, staging, bystander = siblings.values()
    texts = [
        f"drop database {staging} with (force)",
        f"DROP/**/DATABASE {bystander}",
        f"alter database {staging} rename to gone",
        f"alter database {bystander} with allow_connections false",
        f"alter database {bystander} owner to current_user",
        f"comment on database {staging} is null",
        "alter system set work_mem = '1MB'",
        "drop role app",
        "alter role app nologin",
        "reassign owned by app to app",
        f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{bystander}'",
        f"select dblink_exec('dbname={staging}', 'drop table orders')",
        "select pg_reload_conf()",
        f"create server there foreign data wrapper postgres_fdw options (dbname '{bystander}')",
        f"truncate orders; drop database {bystander}",
    ]
    before = len(old.statements_in(test))
    with psycopg.connect(old.dsn(bystander)) as user:
        refused = sent(tmp_path, old, test, driver, *texts)
        assert [told.partition("\n")[0] for told in refused] == [
            f"refused[not-disposable]: {what} was not sent to '{test}' on 127.0.0.1:{old.port}"
            for what in (
                f"DROP DATABASE {staging}",
                f"DROP DATABASE {bystander}",
                f"ALTER DATABASE {staging}",
                f"ALTER DATABASE {bystander}",
                f"ALTER DATABASE {bystander}",
                f"COMMENT {staging}",
                "ALTER SYSTEM (the whole server)",
                "DROP ROLE app",
                "ALTER ROLE app",
                "REASSIGN OWNED app",
                f"pg_terminate_backend {bystander} (ends another session)",
                "dblink_exec() (what it sends to another session is not seen here)",
                "pg_reload_conf (the whole server)",
                "CREATE SERVER there",
                f"DROP DATABASE {bystander}",
            )
        ]
        assert f"'{staging}' is marked protected by " in refused[0]
        assert (
            f"  '{bystander}' is judged by itself, and it bears no mark\n  no statement was sent\n"
            "  help: let it name a throw-away database; do not work around this.\n"
            f"        '{bystander}': If this one may be destroyed, its owner says so: rowback guard mark --dsn"
            in refused[1]
        )
        assert user.execute("select count(*) from orders").fetchone() == (9,), "its session was not ended"
    asked = ("select", "set", "BEGIN", "COMMIT", "ROLLBACK")  # the guard's own questions, and psycopg2 around them
    assert [text for text in old.statements_in(test)[before:] if not text.lstrip().startswith(asked)] == []
    assert {test, staging, bystander} <= databases(old)


@pytest.mark.parametrize("driver", SEND)
def test_what_stays_in_the_marked_database_passes(
    old: Plain, siblings: dict[str, str], tmp_path: Path, driver: str
) -> None:
    test, _, _ = siblings.values()
    role = f"made_{driver}"
    assert (
        sent(
            tmp_path,
            old,
            test,
            driver,
            "truncate orders",
            f"alter database {test} set work_mem = '5MB'",
            f"create role {role}",
            f"alter role {role} login",
            f"drop role {role}",
            "create extension dblink",
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid = 0",
            f"select dblink_exec('host=127.0.0.1 port={old.port} user=app dbname={test}', 'drop table orders')",
            "drop schema public cascade",
            f"drop database if exists {test}_never",
        )
        == [""] * 10
    )


def test_a_marked_sibling_may_go_as_well(old: Plain, siblings: dict[str, str], cli: Cli, tmp_path: Path) -> None:
    test, _, bystander = siblings.values()
    mark(cli, old, bystander, "--once")
    assert sent(tmp_path, old, test, "psycopg", f"drop database {bystander}") == [""]
    assert bystander not in databases(old)


def test_on_a_new_server_only_what_is_protected_stays(plain: Plain, cli: Cli, tmp_path: Path) -> None:
    """The evidence is about the server; a protection is about a database, and protects from everywhere."""
    plain.make("treasured", "create table orders (id int)")
    plain.make("scratch")
    mark(cli, plain, "treasured", "--protected")
    told = sent(
        tmp_path,
        plain,
        "postgres",
        "psycopg",
        "drop database scratch",
        "drop database treasured",
        "drop role app",
        "drop role if exists nobody_at_all",
        "alter system set work_mem = '1MB'",
    )
    assert told[0] == ""
    assert "'treasured' is marked protected by " in told[1]
    assert "  roles belong to all databases of the server: 'treasured' is marked protected by " in told[2]
    assert told[3] == ""
    assert "  it belongs to all databases of the server: 'treasured' is marked protected by " in told[4]
    assert {"treasured"} <= databases(plain)
    assert "scratch" not in databases(plain)
    with psycopg.connect(plain.dsn(), autocommit=True) as server:
        server.execute("drop database treasured")


def test_tables_of_another_server_are_judged_there(
    old: Plain, siblings: dict[str, str], cli: Cli, tmp_path: Path
) -> None:
    """A foreign table that was there before: its server is asked, not the database that shows it."""
    test, _, bystander = siblings.values()
    with psycopg.connect(old.dsn(test), autocommit=True) as owner:
        owner.execute("create extension postgres_fdw")
        owner.execute(
            f"create server there foreign data wrapper postgres_fdw options (host '127.0.0.1',"
            f" port '{old.port}', dbname '{bystander}')"
        )
        owner.execute("create user mapping for app server there options (user 'app')")
        owner.execute("create foreign table far (id int) server there options (table_name 'orders')")
    texts = ("select count(*) from far", "delete from far", "truncate far", "delete from orders")
    told = sent(tmp_path, old, test, "psycopg", *texts)
    assert [bool(each) for each in told] == [False, True, True, False]
    assert f"  far is a table of '{bystander}' on 127.0.0.1:{old.port}: not proven disposable" in told[1]
    with psycopg.connect(old.dsn(bystander)) as session:
        assert session.execute("select count(*) from orders").fetchone() == (9,)
    mark(cli, old, bystander)
    assert sent(tmp_path, old, test, "psycopg", *texts) == [""] * 4


def test_what_does_not_leave_its_database_is_not_looked_at() -> None:
    for text in (
        "select * from users where role = 'x'",
        "insert into t values (1)",
        "update groups set a = 1",
        "delete from servers",
        "drop table t",
        "alter table t add x int",
        "select created_at from users",
        "select pg_sleep(0)",
    ):
        assert not may_reach(text)
        assert not may_reach_bytes(text.encode())
    for text in (
        "drop database x",
        "ALTER ROLE x",
        "select dblink('a')",
        "Reassign Owned by a to b",
        "select pg_cancel_backend(1)",
        "create server s foreign data wrapper w",
    ):
        assert may_reach(text)
        assert may_reach_bytes(text.encode())
        assert classify(text).reaching or "dblink" in text
