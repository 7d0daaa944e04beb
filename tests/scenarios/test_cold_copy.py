"""A copy whose blocks are still loaded from S3: while it is slow, the original's server is kept from nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from recovery.model.values import TableName
from recovery.postgres.comparison.whole_blocks import blocks
from recovery.postgres.connect import connect
from runbooks.lab.background import pass_a_second
from tests.fix_cli import Cli, restoring
from tests.fix_lab import Database, wait_until

ROWS = "select count(*), sum(hashtextextended(t::text, 0)) from t"
# What a session of ours keeps the server from removing: dead rows that it may still see.
HORIZON = (
    "select count(*) from pg_stat_activity where application_name like 'rowback%' and datname = current_database()"
    " and (backend_xmin is not null or state like 'idle in transaction%')"
)
WAITING = "select count(*) from pg_locks where not granted and relation = '{table}'::regclass"
OTHERS = "select count(*) from pg_stat_activity where application_name like 'rowback%'"
INCIDENTS = {
    "deleted": "delete from t where id % 3 = 0",
    "updated": "update t set x = 'wrong' where id % 50 = 0",
    "truncated": "truncate t",
}


@pytest.fixture
def settled(cli: Cli) -> Iterator[None]:
    """rdsadmin wrote nothing in the copy, so that lineage tells which rows were written."""
    cli.live.lab.engine.faults.idle_after_restore = True
    yield
    cli.live.lab.engine.faults.idle_after_restore = False


@pytest.mark.parametrize("incident", INCIDENTS)
def test_the_original_s_horizon_is_not_held_while_a_cold_copy_is_read(
    cli: Cli, database: Database, settled: None, incident: str
) -> None:
    """A lock stands for a volume that does not answer: whatever is read of the table waits for it."""
    database.run(
        "create table t (id int primary key, x text)",
        "insert into t select g, 't' || g from generate_series(1, 30000) g",
        "create table quiet (id int primary key)",
    )
    held, target = database.rows(ROWS), pass_a_second()
    with database.connect() as other, other.transaction():
        other.execute(INCIDENTS[incident])
        ((xid,),) = other.execute("select pg_current_xact_id()::text::bigint % 4294967296")
    mode = ["--mode", "repair", "--incident-xid", str(xid)] if incident == "updated" else []
    opened = cli("open", *restoring(cli, database, target)[1:-2], *mode)
    assert opened.code == 0, opened.err
    case = opened.out.strip()
    copy = cli.live.lab.engine.instances[f"rowback-{case}"]
    copy.loading_percent = [40] * 100
    with psycopg.connect(copy.cluster.dsn(database.name)) as admin:
        admin.execute("set default_transaction_read_only = off")
        admin.commit()
        admin.execute("lock table t in access exclusive mode")
        process = cli.start("diff", case, "--again") if incident == "truncated" else cli.start("diff", case)
        with psycopg.connect(copy.cluster.dsn(database.name), autocommit=True) as watcher:
            wait_until(lambda: watcher.execute(WAITING.format(table="t")).fetchall() > [(0,)], "the copy is being read")
        assert database.rows(HORIZON) == [(0,)]
        admin.commit()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert cli("close", case).code == 0
    recovered = cli(*restoring(cli, database, target, *mode))
    assert recovered.code == 0, recovered.err
    assert database.rows(ROWS) == held


def test_a_warm_copy_is_not_read_ahead(cli: Cli, database: Database) -> None:
    database.run("create table t (id int primary key)", "insert into t select generate_series(1, 3000)")
    target = pass_a_second()
    database.run("delete from t where id > 10")
    opened = cli("open", *restoring(cli, database, target)[1:-2])
    assert opened.code == 0, opened.err
    copy = cli.live.lab.engine.instances[f"rowback-{opened.out.strip()}"]
    copy.settling = []
    with psycopg.connect(copy.cluster.dsn(), autocommit=True) as admin:
        counts = [_sessions_of(cli, database, admin, opened.out.strip(), percent) for percent in ([], [40] * 100)]
    assert counts[1] == counts[0] + 3, "for the catalog, the rows that were written and the keys"
    assert cli("close", opened.out.strip()).code == 0


def _sessions_of(cli: Cli, database: Database, admin: psycopg.Connection[Any], case: str, percent: list[int]) -> int:
    """How many sessions a comparison opens on the copy while so much of its volume is loaded."""
    cli.live.lab.engine.instances[f"rowback-{case}"].loading_percent = percent
    query = f"select sessions from pg_stat_database where datname = '{database.name}'"
    before = admin.execute(query).fetchall()[0][0]
    assert cli("diff", case, "--again").code == 0
    wait_until(lambda: admin.execute(OTHERS).fetchall() == [(0,)], "they are gone")
    return int(admin.execute(query).fetchall()[0][0]) - int(before)


def test_values_that_are_stored_beside_the_rows_are_read_ahead_too(cli: Cli, database: Database) -> None:
    """Of a table that is compared by its content; what the server counts as read from disk or memory."""
    database.run(
        "create table t (id int primary key, x text)",
        "alter table t alter x set storage external",
        "insert into t select g, repeat(md5(g::text), 200) from generate_series(1, 500) g",
    )
    with psycopg.connect(database.superuser_dsn) as admin, connect(database.target()) as session:
        for piece in blocks(session, TableName(schema_name="public", name="t")):
            piece(session)
        session.execute("select pg_stat_force_next_flush()")
        session.execute("select")
        admin.execute("select pg_stat_clear_snapshot()")
        toast = "select toast_blks_read + toast_blks_hit from pg_statio_user_tables where relname = 't'"
        wait_until(lambda: (admin.execute(toast).fetchone() or (0,))[0] > 500, "its values were read")
