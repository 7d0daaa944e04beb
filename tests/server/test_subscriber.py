"""A native subscriber of everything goes on replicating through repair, proof, undo and clean-up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from recovery.postgres.before_images import drop_schema, left_schemas
from recovery.postgres.beside_tables import beside_schema, create_beside, plain
from recovery.postgres.connect import connect
from recovery.postgres.read_catalog import read_catalog
from recovery.postgres.staging.write_before_images import before_image_schema
from runbooks.lab.lab_server import Lab
from runbooks.lab.lab_state import Parameters
from tests import fix_repair
from tests.fix_lab import Database, Live, end_instance, wait_until
from tests.fix_repair import Past, xid_of

GROUP, INSTANCE = "logical", "live-logical"
CASE = "20260101-000000-abcd"
ROWS = "select id, x from t order by 1"


@pytest.fixture(scope="module")
def live(lab: Lab) -> Iterator[Live]:
    """An instance with logical replication."""
    family = f"postgres{lab.engine.tools.major}"
    lab.engine.parameters[GROUP] = Parameters(GROUP, family, "logical", {"rds.logical_replication": "1"})
    yield Live(lab, INSTANCE, lab.create_instance(INSTANCE, DBParameterGroupName=GROUP, PubliclyAccessible=False))
    end_instance(lab, INSTANCE, GROUP)


@contextmanager
def subscriber(database: Database) -> Iterator[psycopg.Connection[Any]]:
    """Another database that subscribes to all tables of `database`, and has only the table t."""
    cluster = database.live.lab.engine.instances[INSTANCE].cluster
    name = f"{database.name}_subscriber"
    with database.live.connect() as server:
        server.execute(f'create database "{name}"')
    publisher = psycopg.connect(cluster.dsn(database.name), autocommit=True)
    there = psycopg.connect(cluster.dsn(name), autocommit=True)
    try:
        publisher.execute("create publication everything for all tables")
        publisher.execute(f"select pg_create_logical_replication_slot('{name}', 'pgoutput')")
        there.execute("create table t (id int primary key, x text)")
        there.execute(
            f"create subscription {name} connection '{cluster.dsn(database.name)}' publication everything"
            f" with (create_slot = false, slot_name = '{name}')"
        )
        yield there
    finally:
        there.execute(f"drop subscription if exists {name}")
        there.close()
        publisher.close()
        with database.live.connect() as server:
            server.execute(f'drop database if exists "{name}" with (force)')


def test_a_subscriber_of_all_tables_never_meets_a_table_of_ours(
    past: Past, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fix_repair, "SCHEMA", before_image_schema(CASE))
    with (
        past(
            "create table t (id int primary key, x text)",
            "insert into t select g, 'x' || g from generate_series(1, 9) g",
        ) as times,
        subscriber(database) as there,
    ):
        then = database.rows(ROWS)
        follows = lambda: there.execute(ROWS).fetchall() == database.rows(ROWS)  # noqa: E731
        wait_until(follows, "the subscriber has the first rows")
        xid = xid_of(database.live, database, "update t set x = 'bad' where id > 5", "delete from t where id < 3")
        damaged = database.rows(ROWS)
        times.diff(mode="repair", incident_xids=(xid,))
        times.apply()
        assert database.rows(ROWS) == then
        wait_until(follows, "the subscriber has the repair")
        times.undo()
        assert database.rows(ROWS) == damaged
        wait_until(follows, "the subscriber has the undo")
        with connect(database.target()) as session:
            create_beside(session, CASE, [plain(table) for table in read_catalog(session).tables])
            session.execute(f"insert into {beside_schema(CASE)}.t values (1, 'beside')")
            (ours,) = (schema for schema in left_schemas(session) if not schema.beside)
            assert (ours.case, ours.tables) == (CASE, 2)
            drop_schema(session, ours)
            assert [schema.beside for schema in left_schemas(session)] == [True]
        database.run("insert into t values (99, 'later')")
        wait_until(follows, "the subscriber goes on")
        ((errors,),) = there.execute("select sum(apply_error_count + sync_error_count) from pg_stat_subscription_stats")
        assert errors == 0


def test_what_stays_of_a_case_is_found_by_age_and_size(past: Past, database: Database, tmp_path: Path) -> None:
    with past("create table t (id int primary key, x text)", "insert into t values (1, 'a')"):
        database.run(
            f"create schema {before_image_schema(CASE)}",
            f"create table {before_image_schema(CASE)}.before_1_0 as select 1 as n",
            "create schema recovered_20260102_030405_ffff",
            "create schema recovered_by_hand",
        )
        with connect(database.target()) as session:
            found = [(s.name, s.case, s.beside, s.tables, s.owned) for s in left_schemas(session)]
        assert found == [
            ("rowback_case_20260101_000000_abcd", CASE, False, 1, True),
            ("recovered_20260102_030405_ffff", "20260102-030405-ffff", True, 0, True),
        ]
